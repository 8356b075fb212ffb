r"""Pairs of a gold and the content of a `\boxed{}`, made by kind: values that people confuse, and one value in several spellings.

Drawn from a fixed seed. A pair of different values is left out where both happen to be equal (each kind says so itself).
"""

import itertools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction

Pair = tuple[str, str]
Draw = Callable[[random.Random], Pair | None]  # None: the two happen to be equal

MONTHS = "January February March April May June July August September October November December".split()
WORDS = "isosceles scalene equilateral acute obtuse right parallel perpendicular square rhombus trapezoid circle ellipse parabola yes no red green blue "
WORDS += "increase decrease north south east west Monday Tuesday Friday Paris London kangaroo beaver never always true false was saw dog god not ton"
UNITS = "cm m km mm kg g s min h L ft in N J W V".split()


def number(draw: random.Random) -> Pair | None:
    value = draw.choice([draw.randint(1, 9999), round(draw.uniform(0.001, 99), draw.randint(1, 3)), draw.randint(1, 99) * 1000])
    text = str(value)
    wrongs = [
        f"-{text}",
        f"{text}0" if "." not in text else text[:-1] or "1",
        str(value + 1),
        str(value * 10),
        f"{value}.1",
        text[::-1],
    ]
    wrongs += [
        f"{text[:-1]},{text[-1]}",
        f"{text[:-1]} {text[-1]}",
        rf"\frac{{1}}{{{text}}}",
        rf"{text} \times 10^{{-1}}",
        f"{text}^2",
        f"{text}!",
    ]
    wrong = draw.choice(wrongs).lstrip(",")
    plain = wrong.replace("-", "", 1)
    if value in (1, 2) or not wrong.strip() or (plain.replace(".", "", 1).isdigit() and float(wrong) == float(value)):
        return None
    return text, wrong


def fraction(draw: random.Random) -> Pair | None:
    a, b, c = draw.randint(1, 60), draw.randint(2, 60), draw.randint(1, 60)
    gold = draw.choice(
        [rf"\frac{{{a}}}{{{b}}}", rf"\frac {{ {a} }} {{ {b} }}", f"{a}/{b}", rf"\dfrac{{{a}}}{{{b}}}", rf"-\frac{{{a}}}{{{b}}}"]
    )
    value = Fraction(a, b) * (-1 if gold[0] == "-" else 1)
    top, bottom, mixed = rf"\frac{{{c}}}{{{b}}}", rf"\frac {{ {a} }} {{ {c + 1} }}", rf"{a}\frac{{{1}}}{{{b}}}"
    wrongs = [
        (Fraction(c, b), top),
        (Fraction(a, c + 1), bottom),
        (Fraction(b, a), f"{b}/{a}"),
        (a + Fraction(1, b), mixed),
        (-value, str(-value)),
    ]
    wrongs += [(Fraction(a * b), f"{a}{b}" if a * b != value else "0.5"), (Fraction(a), str(a)), (value + 1, str(value + 1))]
    other, wrong = draw.choice(wrongs)
    return None if other == value or (wrong.isdigit() and Fraction(wrong) == value) else (gold, wrong)


def root(draw: random.Random) -> Pair | None:
    a, b = draw.randint(1, 12), draw.choice([2, 3, 5, 6, 7, 10, 11, 13, 34, 43, 221])
    c, d = draw.randint(1, 12), draw.choice([2, 3, 5, 6, 7, 10, 11, 13, 34, 43, 221])
    factor = "" if a == 1 else f"{a} "
    gold = draw.choice(
        [rf"{factor}\sqrt{{{b}}}", rf"{factor}\sqrt {{ {b} }}", rf"{factor}\sqrt{b}" if b < 10 else rf"{factor}√{b}"]
    )
    wrongs = [
        rf"{c}\sqrt{{{d}}}",
        rf"\sqrt{{{a * b}}}",
        rf"{a}+\sqrt{{{b}}}",
        rf"\frac{{{a}}}{{\sqrt{{{b}}}}}",
        rf"{a}\sqrt[3]{{{b}}}",
        str(a * b),
    ]
    wrongs += [
        rf"{a * 10 + b // 10}\sqrt{{{b % 10}}}",
        rf"-{factor}\sqrt {{ {b} }}",
        f"{a * b**0.5:.3f}",
        rf"\sqrt {{ {a} }}",
        f"{a}^{{{b}}}",
    ]
    index = draw.randrange(len(wrongs))
    if (
        (index == 0 and c * c * d == a * a * b)
        or (index == 1 and a == 1)
        or (index == 6 and (a * 10 + b // 10) ** 2 * (b % 10) == a * a * b)
    ):
        return None
    return (gold, wrongs[index]) if not (index == 9 and a == a * a * b) else None


def angle(draw: random.Random) -> Pair | None:
    a, m, n = draw.randint(1, 179), draw.randint(1, 59), draw.randint(1, 59)
    gold = draw.choice([rf"{a}^\circ {m}'", rf"{a}^{{\circ}}{m}'", f"{a}°{m}′", rf"{a}^\circ {m}' {n}''"])
    wrongs = [
        f"{a}{m}",
        rf"{a}.{m:02d}^\circ",
        rf"{a}^\circ",
        rf"{a}^\circ {n}'",
        rf"{a + 1}^\circ {m}'",
        rf"{m}^\circ {a % 60}'",
        f"{a}",
        rf"{a}^\circ + {m}",
    ]
    wrong = draw.choice(wrongs)
    same_minutes = wrong == rf"{a}^\circ {n}'" and n == m
    return (
        None
        if same_minutes or (m == a and wrong.startswith(f"{m}^")) or (wrong.startswith(f"{a}.") and 5 * m == 3 * m)
        else (gold, wrong)
    )


def plane_angle(draw: random.Random) -> Pair | None:
    a = draw.randint(2, 178)
    names = [r"\alpha", r"\beta", r"\gamma", r"\theta", r"\angle A", r"\angle B", r"\angle 1", "x"]
    x, y = draw.sample(names, 2)
    wrongs = [
        rf"{x}={a + 1}^\circ",
        rf"{y}={a}^\circ",
        rf"{180 - a}^\circ",
        rf"\pi {a}",
        rf"\sin {a}^\circ",
        rf"\frac{{{a}\pi}}{{180}}",
        f"{a} cm",
        f"{a}%",
    ]
    wrong = draw.choice(wrongs)
    return None if a == 90 else (rf"{x}={a}^\circ", wrong)


def span(draw: random.Random) -> Pair | None:
    a, d = draw.randint(0, 60), draw.randint(1, 40)
    dash = draw.choice(["-", " - ", "–", r"\text{–}", " to ", "--"])
    gold = f"{a}{dash}{a + d}"
    wrongs = [
        f"{a + d}-{a + 2 * d}",
        f"{a + 1}{dash}{a + d + 1}",
        f"-{d}",
        f"{d}",
        f"{a + d}-{a}",
        f"{a}",
        f"{a + d}",
        f"({a}, {a + d})",
        f"{a}-{a + d}-{a + 2 * d}",
    ]
    wrongs += [f"{a}, {a + d}", rf"{a}^\circ - {a + d}^\circ", f"{2 * a + d}", f"{a}/{a + d}", f"{a}:{a + d:02d}"]
    wrong = draw.choice(wrongs)
    return (
        None
        if wrong == rf"{a}^\circ - {a + d}^\circ"
        else (gold, wrong)
        if wrong.replace(" ", "") != gold.replace(" ", "")
        else None
    )


def date(draw: random.Random) -> Pair | None:
    y, m, d, e = draw.randint(1900, 2030), draw.randint(1, 12), draw.randint(1, 28), draw.randint(1, 28)
    gold = draw.choice([f"{y}-{m:02d}-{d:02d}", f"{y}/{m}/{d}", f"{MONTHS[m - 1]} {d}, {y}", f"{d} {MONTHS[m - 1]} {y}"])
    wrongs = [
        str(y - m - d),
        f"{y}-{m:02d}-{e:02d}",
        f"{y + 1}-{m:02d}-{d:02d}",
        f"{y}-{m % 12 + 1:02d}-{d:02d}",
        str(y),
        f"{y}-{m + d - 1}-1",
    ]
    wrongs += [f"{MONTHS[m % 12]} {d}, {y}", f"{MONTHS[m - 1]} {e}, {y}", f"{d}/{m}", f"{y}, {m}, {d}"]
    wrong = draw.choice(wrongs)
    return None if e == d or (m + d - 1 == m and wrong.endswith("-1")) else (gold, wrong)


def time(draw: random.Random) -> Pair | None:
    h, m = draw.randint(1, 12), draw.randint(1, 59)
    k = draw.choice([2, 3, 5])
    gold = draw.choice([f"{h}:{m:02d}", f"{h} : {m:02d}", f"${h}: {m:02d}$", f"{h}:{m:02d} a.m."])
    other = "p.m." if "a" in gold else ""
    wrongs = [
        f"{h + 1}:{m:02d}",
        f"{h}:{(m + 1) % 60:02d}",
        f"{h * k}:{m * k:02d}",
        rf"\frac{{{h}}}{{{m}}}",
        f"{h}.{m:02d}",
        f"{h}{m:02d}",
        f"{m}:{h:02d}",
    ]
    wrongs += [f"{h}:{m:02d} {other}" if other else f"{h}:{m:02d}:30", str(h), f"{h}, {m}"]
    wrong = draw.choice(wrongs)
    return None if h == m else (gold, wrong)


def ratio(draw: random.Random) -> Pair | None:
    a, b, c = (draw.randint(1, 9) for _ in range(3))
    gold = draw.choice([f"{a}:{b}", f"{a} : {b}", rf"{a}\colon {b}", rf"{a}:{b}:{c}"])
    wrongs = [
        f"{b}:{a}",
        f"{a}:{b + 1}",
        f"{a + b}",
        f"{a}, {b}",
        rf"\frac{{{b}}}{{{a}}}",
        f"{a}:{b}:{c + 1}",
        f"{a}-{b}",
        f"{a}{b}",
        f"{a}.{b}",
        rf"{a}:\sqrt{{{b + 10}}}",
    ]
    return (
        None
        if a == b or a * a == b * b or Fraction(a, b) in (a + b, int(f"{a}{b}"), Fraction(f"{a}.{b}"))
        else (gold, draw.choice(wrongs))
    )


def pair(draw: random.Random) -> Pair | None:
    a, b, c = draw.sample(range(-9, 10), 3)
    left, right = draw.choice(["()", "[]", "(]", "[)"])
    gold = f"{left}{a}, {b}{right}"
    wrongs = [
        f"({b}, {a})",
        f"{left}{b}, {a}{right}",
        f"{left}{a}, {c}{right}",
        f"{a}, {b}",
        f"{left}{a}, {b}, {c}{right}",
        str(a),
        f"{a * b}",
        rf"\{{{b}, {a}\}}",
    ]
    wrongs += [f"{'[' if left == '(' else '('}{a}, {b}{right}", f"{a}:{b}", rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}"]
    return gold, draw.choice(wrongs)


def named_values(draw: random.Random) -> Pair | None:
    names, values = draw.sample(["x", "y", "a", "b", "c", "m", "n", "AB", r"\alpha"], 2), draw.sample(range(1, 30), 2)
    gold = f"{names[0]}={values[0]}, {names[1]}={values[1]}"
    wrongs = [
        f"{names[0]}={values[1]}, {names[1]}={values[0]}",
        f"{names[1]}={values[0]}, {names[0]}={values[1]}",
        f"{values[1]}, {values[0]}",
    ]
    wrongs += [
        f"{names[0]}={values[0]}",
        f"{values[0]}",
        f"{names[0]}={values[0]}, {names[1]}={values[1] + 1}",
        f"{names[0]}+{names[1]}={sum(values)}",
    ]
    return gold, draw.choice(wrongs)


def equation(draw: random.Random) -> Pair | None:
    a, b, c = draw.sample(range(2, 12), 3)
    x, y = draw.choice(
        [("x", "y"), (r"\alpha", r"\beta"), ("AB", "CD"), ("X", "Y"), ("a", "b"), (r"\angle A", r"\angle B"), ("BC", "AD")]
    )
    gold, wrongs = draw.choice([
        (f"{x}+{y}={10 * a}", [f"{x}-{y}={10 * a}", str(10 * a), f"{x}={10 * a}", f"{x}+{y}={10 * b}", f"2{x}+{y}={10 * a}", f"{x}{y}={10 * a}"]),
        (f"{x}={a}{y}", [f"{y}={a}{x}", f"{x}={y}", f"{x}={b}{y}", str(a), f"{x}={a}", f"{x}=-{a}{y}", f"{x}+{a}={y}", f"{x}>{a}{y}"]),
        (f"{a}{x}+{y}=90", [f"{a}{y}+{x}=90", "90", f"{x}+{y}=90", f"{a}{x}-{y}=90", f"{a}{x}+{y}=91", f"{x}+{y}"]),
        (f"y={a}x+{b}", [f"y={b}x+{a}", f"x={a}y+{b}", f"y={a}x-{b}", f"{a}x+{b}", f"y=-{a}x+{b}", f"y={a}x", f"y>{a}x+{b}", str(b)]),
        (f"x^2+y^2={a}", [f"x^2-y^2={a}", f"x+y={a}", str(a), f"x^2+y^2={b}", f"x^3+y^2={a}", f"(x+y)^2={a}"]),
        (f"x>{a}", [f"x<{a}", rf"x\ge {a}", f"x>{b}", str(a), f"x={a}", f"y>{a}", f"{a}>x", f"-x>{a}"]),
        (f"{x}={y}", [x, y, f"{x}={a}", f"{x}=2{y}", f"{x}={y}+1", f"{x}>{y}"]),
        (f"{x}+{y}", [f"{x}-{y}", x, f"{x}{y}", f"2{x}+{y}", f"{x}+{a}", f"{x}+{y}={a}"]),
    ])  # fmt: skip
    return gold, draw.choice(wrongs)


def word(draw: random.Random) -> Pair | None:
    gold, wrong = draw.sample(WORDS.split(), 2)
    wrong = draw.choice([wrong, gold[::-1], f"not {gold}", f"{gold} or {wrong}", gold[:-1], "20"])
    return None if gold == wrong else (gold, wrong)


def arrangement(draw: random.Random) -> Pair | None:
    things = draw.choice(["ABC", "ABCD", "RS", "RRS", "12345", "1234", "MNPQ", "GRGR"])
    join = draw.choice(["", "-", r" \to ", ", "]) if len(set(things)) > 2 else ""
    if things.isdigit() and not join:
        join = "-"
    gold, wrong = (join.join(draw.sample(things, len(things))) for _ in range(2))
    if join == ", " and (
        [*gold] in (sorted(gold), sorted(gold)[::-1]) or gold.split(", ") in (sorted(things), sorted(things)[::-1])
    ):
        return None  # an ordinary list: any order will do
    return None if gold == wrong else (gold, wrong)


def letter(draw: random.Random) -> Pair | None:
    a, b = draw.sample("ABCDE", 2)
    gold = draw.choice([a, f"({a})", f"{a}.", f"{a}. 35", f"({a}) 35"])
    wrongs = [
        b,
        f"({b})",
        f"{b}. 35",
        f"{a} or {b}",
        f"{a}, {b}",
        f"{a}{b}",
        f"({a})({b})",
        f"{a}. {b}.",
        f"{a} and {b}",
        f"not {a}",
        "36",
        f"{a}+{b}",
    ]
    wrongs += [f"{a}. 36"] if "35" in gold else ["1"]
    wrongs += [f"({a}) ({b}) ({'C' if 'C' not in (a, b) else 'D'})", f"{a}) {b})", f"-{a}", f"{a}'", f"{a}_1"]
    return gold, draw.choice(wrongs)


def base(draw: random.Random) -> Pair | None:
    digits, b, c = "1" + "".join(draw.choices("01", k=3)), *draw.sample([2, 3, 4, 5, 8, 16], 2)
    gold = draw.choice([f"{digits}_{b}" if b < 10 else f"{digits}_{{{b}}}", f"{digits}_{{{b}}}", f"({digits})_{{{b}}}"])
    wrongs = [
        f"{digits}_{{{c}}}",
        digits,
        f"{digits[::-1]}1_{{{b}}}",
        str(int(digits, b)),
        f"{digits}0_{{{b}}}",
        f"{digits}^{{{b}}}",
        f"{digits} {b}",
        f"{digits}, {b}",
    ]
    return gold, draw.choice(wrongs)


def unit(draw: random.Random) -> Pair | None:
    value, (u, v) = draw.randint(2, 99), draw.sample(UNITS, 2)
    wrongs = [
        f"{value} {v}",
        f"{value + 1} {u}",
        f"{value} {u}^2",
        f"{value}0 {u}",
        f"{value} {u}/s",
        f"-{value} {u}",
        rf"{value}\%",
        f"{u}",
        f"{value}{u}{u}",
    ]
    return rf"{value} \text{{ {u}}}", draw.choice(wrongs)


def dimensions(draw: random.Random) -> Pair | None:
    a, b, c = draw.sample(range(2, 13), 3)
    gold = draw.choice([rf"{a} \times {b}", rf"{a} \times {b} \times {c}", rf"{a}x{b}", f"{a}×{b}×{c}"])
    wrongs = [
        rf"{a * b} \times 1",
        rf"{2 * a} \times {b} \times {c}",
        str(a * b),
        str(a * b * c),
        rf"{a} \times {c + 13}",
        f"{a}, {b}",
        f"{a}{b}",
        rf"{a} + {b}",
    ]
    return gold, draw.choice(wrongs)


def tiny(draw: random.Random) -> Pair | None:
    n, m = draw.sample(range(7, 40), 2)
    gold = draw.choice(
        [
            f"10^{{-{n}}}",
            rf"1.6\times 10^{{-{n}}}",
            rf"\frac{{1}}{{2^{{{3 * n}}}}}",
            rf"\frac{{1}}{{{10 * n}!}}",
            rf"\sqrt{{2}}\times 10^{{-{n}}}",
        ]
    )
    wrongs = [
        gold.replace(str(n), str(m)).replace(str(3 * n), str(3 * m)),
        f"10^{{-{n + 1}}}",
        "0",
        f"-{gold}",
        "0.0000001",
        rf"2 \times 10^{{-{n}}}",
    ]
    wrong = draw.choice(wrongs)
    return None if wrong == gold or (n == 7 and wrong == "0.0000001") else (gold, wrong)


def unlike_algebra(draw: random.Random) -> Pair | None:
    a, b = draw.sample(range(2, 10), 2)
    gold, wrongs = draw.choice([
        (f"{a}\\pi", [f"{a}", f"{b}\\pi", f"{a}\\pi^2", f"{a}+\\pi", f"{a * 3.14:.2f}", f"\\frac{{{a}}}{{\\pi}}", f"-{a}\\pi", f"{a} p"]),
        (f"{a}x+{b}", [f"{b}x+{a}", f"{a}X+{b}", f"{a}x-{b}", f"{a + b}x", f"{a}x", f"{a}y+{b}", f"{a}x^2+{b}"]),
        (f"x^{a}", [f"x_{a}", f"{a}x", f"x^{{{b}}}", f"X^{a}", f"x{a}", f"x^{{{a}{b}}}"]),
        ("R", ["r", "R'", "R_1", "2R", "R^2", r"\vec{R}"]), ("a_1", ["a_2", "a", "a^1", "1a", "A_1"]), (r"\theta", [r"\phi", "t", r"2\theta", r"\Theta"]),
        ("AB", ["BA", "A", "ab", "AC", "AB'", "2AB"]), (r"\vec{a}", [r"\vec{b}", "2a", r"-\vec{a}", r"\vec{a}+1"]),
        (f"{a}!", [str(a + 100), f"{b}!", f"({a}!)!" if a > 2 else "0", f"{a}!!" if a > 2 else "3"]), (f"\\log_{a} 7", [f"\\log_{b} 7", r"\log 7", f"\\log_{a} 8", "7"]),
        (f"f(x)=x^{a}", [f"f(x)=x^{b}", f"g(x)=x^{a}", f"f(x)={a}x", str(a)]), (r"\infty", [r"-\infty", "0", "1", "8"]), (r"\emptyset", ["0", r"\infty", "1"]),
    ])  # fmt: skip
    return gold, draw.choice(wrongs)


DIFFERENT: tuple[Draw, ...] = (
    number, fraction, root, angle, plane_angle, span, date, time, ratio, pair, named_values, equation, word, arrangement, letter, base, unit,
    dimensions, tiny, unlike_algebra,
)  # fmt: skip


def different(*, of_each_kind: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind, gold, answer: distinct pairs of different values."""
    for kind in DIFFERENT:
        draw = random.Random(f"{seed} {kind.__name__}")
        drawn = filter(None, (kind(draw) for _ in range(100 * of_each_kind)))
        for gold, answer in itertools.islice(dict.fromkeys(drawn), of_each_kind):
            yield kind.__name__, gold, answer


FULL_WIDTH = str.maketrans("0123456789+-=()", "０１２３４５６７８９＋－＝（）")
AROUND = [
    "{}",
    "${}$",
    " {} ",
    r"\text{{{}}}",
    "{}.",
    r"\left({}\right)",
    r"\({}\)",
    r"\boxed{{{}}}",
    r"\displaystyle {}",
    r"{}\,",
    "\\;{}",
    "{{{}}}",
    "{}\n",
    r"\mathrm{{{}}}",
]
MATHEMATICAL = [around for around in AROUND if "text" not in around and "mathrm" not in around]


def same_number(draw: random.Random) -> Pair:
    a = draw.choice([draw.randint(0, 99), draw.randint(1000, 9999999), -draw.randint(1, 500)])
    text = str(a)
    spellings = [
        f"{a:,}",
        f"{a}.0",
        f"+{a}" if a >= 0 else text,
        text.translate(FULL_WIDTH),
        f"{a:,}".replace(",", "{,}"),
        f"{a:,}".replace(",", r"\,"),
    ]
    spellings += [
        text.replace("-", "\u2212"),
        f"x={a}",
        f"x = {a}",
        f"{a} = x" if a >= 0 else text,
        f"BC={a}",
        rf"{a}\text{{ units}}",
        rf"\frac{{{2 * a}}}{{2}}",
    ]
    return text, draw.choice(AROUND).format(draw.choice(spellings))


def same_decimal(draw: random.Random) -> Pair:
    value = Fraction(draw.randint(1, 999), draw.choice([2, 4, 5, 8, 10, 20, 25, 100]))
    text = f"{float(value):g}"
    top, bottom = value.numerator, value.denominator
    spellings = [
        f"{top}/{bottom}",
        rf"\frac{{{top}}}{{{bottom}}}",
        f"{text}0" if "." in text else f"{text}.0",
        text.translate(FULL_WIDTH),
        rf"\dfrac{{{2 * top}}}{{{2 * bottom}}}",
    ]
    spellings += [
        rf"\frac {{ {top} }} {{ {bottom} }}",
        text.removeprefix("0") if "." in text else text,
        f"{top} / {bottom}",
        rf"\tfrac{{{top}}}{{{bottom}}}",
    ]
    return text, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_fraction(draw: random.Random) -> Pair:
    a, b = draw.randint(1, 40), draw.randint(2, 9)
    whole, rest = divmod(a, b)
    gold = draw.choice([rf"\frac{{{a}}}{{{b}}}", rf"\frac {{ {a} }} {{ {b} }}", f"{a}/{b}", rf"\dfrac{{{a}}}{{{b}}}"])
    spellings = [
        rf"\frac{{{a}}}{{{b}}}",
        rf"\dfrac{{{a}}}{b}",
        rf"\tfrac {{{a}}} {{{b}}}",
        f"{a}/{b}",
        f"{a}÷{b}",
        rf"\frac{{{3 * a}}}{{{3 * b}}}",
        rf"\cfrac{{{a}}}{{{b}}}",
    ]
    spellings += [
        rf"\left.\frac{{{a}}}{{{b}}}\right.",
        rf"{{{a}}} / {{{b}}}",
        rf"\frac{{\text{{{a}}}}}{{{b}}}",
        f"{a}/{b}".translate(FULL_WIDTH),
        rf"\frac{{ {a}}}{{{b} }}",
    ]
    if whole and rest:
        spellings += [
            rf"{whole}\frac{{{rest}}}{{{b}}}",
            rf"{whole} {rest}/{b}",
            rf"{whole}\ \dfrac{{{rest}}}{{{b}}}",
            rf"{whole} \frac {{{rest}}} {{{b}}}",
        ]
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_root(draw: random.Random) -> Pair:
    a, b, c = draw.randint(2, 12), draw.choice([2, 3, 5, 6, 7, 10, 13, 221]), draw.randint(2, 9)
    gold, spellings = draw.choice([
        (rf"{a}\sqrt{{{b}}}", [rf"{a} \sqrt {{ {b} }}", rf"\sqrt{{{a * a * b}}}", rf"{a}\cdot\sqrt{{{b}}}", rf"{a}\times\sqrt{{{b}}}", f"{a}√{b}", f"{a}sqrt({b})", rf"{a}\sqrt[2]{{{b}}}",
            rf"\frac{{{a * b}}}{{\sqrt{{{b}}}}}", rf"{a} * sqrt({b})", rf"{a}\,\sqrt{{{b}}}", rf"\sqrt{{{b}}}\cdot {a}", f"{a * b**0.5:.6f}"]),
        (rf"\frac{{\sqrt{{{b}}}}}{{{c}}}", [rf"\frac {{ \sqrt {{ {b} }} }} {{ {c} }}", rf"\dfrac{{\sqrt{{{b}}}}}{{{c}}}", rf"\sqrt{{{b}}}/{c}", f"√{b}/{c}", rf"\frac{{1}}{{{c}}}\sqrt{{{b}}}",
            rf"\frac{{{2}\sqrt{{{b}}}}}{{{2 * c}}}", rf"\sqrt{{\frac{{{b}}}{{{c * c}}}}}", rf"sqrt({b})/{c}", rf"\frac{{{b}}}{{{c}\sqrt{{{b}}}}}"]),
        (rf"{a}+{c}\sqrt{{{b}}}", [rf"{a} + {c} \sqrt {{ {b} }}", rf"{c}\sqrt{{{b}}}+{a}", f"{a}+{c}√{b}", rf"({a}+{c}\sqrt{{{b}}})", rf"{a}+\sqrt{{{c * c * b}}}", rf"{a}-(-{c})\sqrt{{{b}}}"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_pi(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 40), draw.choice([2, 3, 4, 6])
    gold, spellings = draw.choice([
        (rf"{a}\pi", [f"{a}π", f"{a} pi", f"{a}pi", rf"{a} \pi", rf"{a}\cdot\pi", rf"\pi \times {a}", rf"{a}\pi \text{{ cm}}^2", rf"{a}*\pi"]),
        (rf"\frac{{\pi}}{{{b}}}", [f"pi/{b}", f"π/{b}", rf"\pi/{b}", rf"\dfrac{{\pi}}{{{b}}}", rf"\frac\pi{b}", rf"\frac {{ \pi }} {{ {b} }}", rf"\frac{{1}}{{{b}}}\pi", rf"\frac{{2\pi}}{{{2 * b}}}"]),
        (f"{a}pi", [rf"{a}\pi", f"{a}π", rf"{a} \cdot \pi"]), (f"{a}-{b}\\pi", [rf"{a} - {b} \pi", rf"-{b}\pi+{a}", f"{a}-{b}π", rf"{a} - {b}\cdot\pi"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_angle(draw: random.Random) -> Pair:
    a, m = draw.randint(1, 179), draw.choice([6, 12, 15, 30, 45])
    gold, spellings = draw.choice([
        (draw.choice([str(a), rf"{a}^\circ", f"{a}°", f"{a} degrees", rf"{a}{{degrees}}", rf"<answer> {a}° </answer>"]), [rf"{a}^\circ", rf"{a}^{{\circ}}", rf"{a} ^ {{ \circ }}", f"{a}°", f"{a}º",
            f"{a} degrees", rf"{a}\degree", rf"{a}\text{{ degrees}}", rf"{a}\,^\circ", rf"{a}{{}}^\circ", rf"\angle A = {a}^\circ", rf"m\angle ABC={a}°", rf"\alpha = {a}^\circ", f"x={a}", str(a),
            rf"{a}^\circ.", f"{a} deg", f"{a}°".translate(FULL_WIDTH), rf"\theta={a}°"]),
        (rf"{a}^\circ {m}'", [f"{a}°{m}′", f"{a}° {m}'", rf"{a}^{{\circ}}{m}'", rf"{a}^\circ{m}'", f"{a + m / 60:g}°", rf"\angle A={a}^\circ {m}'", rf"{a}^{{\circ}} {m}^{{\prime}}"]),
    ])  # fmt: skip
    return gold, spellings[draw.randrange(len(spellings))] if draw.random() < 0.7 else f"${draw.choice(spellings)}$"


def same_unit(draw: random.Random) -> Pair:
    a = draw.choice([draw.randint(1, 99), round(draw.uniform(1, 50), 1)])
    u, long, square = draw.choice(
        [
            ("cm", "centimeters", 2),
            ("m", "meters", 2),
            ("kg", "kilograms", 0),
            ("km", "kilometers", 0),
            ("ft", "feet", 2),
            ("s", "seconds", 0),
            ("h", "hours", 0),
            ("N", "newtons", 0),
            ("L", "liters", 0),
        ]
    )
    golds = [str(a), f"{a} {u}", rf"{a} \mathrm{{~{u}}}", rf"{a}\text{{ {u}}}", f"{a} {long}"]
    spellings = [
        f"{a} {u}",
        rf"{a}\text{{ {u}}}",
        rf"{a}\,\mathrm{{{u}}}",
        rf"{a} \mathrm{{~{u}}}",
        f"{a} {long}",
        str(a),
        rf"{a}~\text{{{long}}}",
        rf"{a}\ \mathrm{{{u}}}",
        f"{a} {u}.",
        f"x = {a} {u}",
        rf"{a}\operatorname{{{u}}}",
    ]
    if square:
        golds += [rf"{a} \mathrm{{~{u}}}^{{2}}", f"{a} square {long}", f"{a}{{square{long}}}"]
        squares = [
            rf"{a}\text{{ {u}}}^2",
            f"{a} {u}²",
            f"{a} {u}^2",
            f"{a} sq {u}",
            rf"{a}\,\mathrm{{{u}^2}}",
            f"{a} square {long}",
            rf"{a} \text{{ square {long}}}",
            str(a),
        ]
        gold = draw.choice(golds)
        return (
            (gold, draw.choice(squares)) if "2" in gold[len(str(a)) :] or "square" in gold else (gold, draw.choice(spellings))
        )
    return draw.choice(golds), draw.choice(spellings)


def same_mark(draw: random.Random) -> Pair:
    a = draw.randint(1, 99)
    gold, spellings = draw.choice([
        (draw.choice([f"{a}%", rf"{a}\%", str(a), rf"{a} \%"]), [f"{a}%", rf"{a}\%", f"{a} percent", str(a), rf"{a}\,\%", f"{a} %", f"{a} per cent"]),
        (draw.choice([f"${a}", rf"\${a}", f"{a} dollars"]), [rf"\${a}", f"${a}$", f"{a} dollars", f"\\text{{\\${a}}}", str(a), f"${a}.00$"]),
        (f"{a} apples", [str(a), f"{a} apples", rf"{a} \text{{ apples}}", f"{a} Apples"]), (f"{a}°C", [str(a), f"{a} °C", rf"{a}^\circ\mathrm{{C}}", f"{a}℃", rf"{a} ^\circ C"]),
    ])  # fmt: skip
    return gold, draw.choice(spellings)


def same_list(draw: random.Random) -> Pair:
    a, b, c = draw.sample(range(2, 60), 3)
    gold, spellings = draw.choice([
        (f"{a}, {b}", [f"{a},{b}", f"{b}, {a}", f"{a} and {b}", rf"{a} \text{{ and }} {b}", f"{a} or {b}", rf"\{{{a}, {b}\}}", f"{a}; {b}", rf"\left\{{{b},{a}\right\}}", f"x={a}, x={b}", rf"{a},\, {b}", f"x = {a} or x = {b}"]),
        (f"{a}, {b}, {c}", [f"{c},{a},{b}", f"{a},{b} and {c}", f"{a}, {b}, and {c}", rf"\{{ {b}, {a}, {c} \}}", rf"{a},\;{b},\;{c}"]),
        (rf"\pm {a}", [f"±{a}", f"{a}, -{a}", f"x=\\pm {a}", rf"-{a} \text{{ or }} {a}", rf"\{{-{a}, {a}\}}"]),
        (f"{a}\\pm\\sqrt{{3}}", [rf"{a}+\sqrt{{3}}, {a}-\sqrt{{3}}", rf"{a} \pm \sqrt 3", rf"x={a}\pm\sqrt{{3}}"]),
    ])  # fmt: skip
    return gold, draw.choice(["{}", "${}$"]).format(draw.choice(spellings))


def same_names(draw: random.Random) -> Pair:
    a, b = draw.sample(range(2, 60), 2)
    gold, spellings = draw.choice([
        (f"x={a}, y={b}", [f"y={b}, x={a}", rf"x = {a},\ y = {b}", f"{a}, {b}", f"x={a} and y={b}", rf"(x, y) = ({a}, {b})", rf"x={a},\quad y={b}", f"x={a}; y={b}"]),
        (f"x={a}", [str(a), f"x = {a}", f"{a}=x", rf"x={a}.0", f"$x={a}$", rf"x=\frac{{{2 * a}}}{{2}}"]), (f"AB={a}", [str(a), rf"\overline{{AB}}={a}", f"AB = {a} cm", f"AB={a - 1}+1={a}"]),
        (f"\\alpha+\\beta={a}^\\circ", [f"α+β={a}°", rf"\beta+\alpha={a}", rf"\alpha + \beta = {a}^{{\circ}}", rf"\alpha={a}^\circ-\beta"]),
        ("AB=CD", ["CD=AB", "AB = CD", r"\text{AB}=\text{CD}", "$AB = CD$"]), (f"y={a}x+{b}", [f"y = {b}+{a}x", f"{a}x - y + {b} = 0", f"y={a} x + {b}", rf"y = {a}\cdot x+{b}"]),
        (f"x>{a}", [f"{a}<x", f"x > {a}", rf"x \gt {a}", f"2x>{2 * a}"]), (rf"x \le {a}", [f"x≤{a}", rf"x\leq {a}", rf"{a} \ge x", f"x <= {a}"]),
        (f"f(x)=x^2+{a}", [f"x^2+{a}", f"f(x) = {a}+x^{{2}}", f"f(x)=x²+{a}"]), (f"{min(a, b)}<x<{max(a, b)}", [rf"{min(a, b)} \lt x \lt {max(a, b)}", f"{max(a, b)}>x>{min(a, b)}"]),
    ])  # fmt: skip
    return gold, draw.choice(spellings)


def same_point(draw: random.Random) -> Pair:
    a, b = draw.sample(range(-20, 20), 2)
    gold, spellings = draw.choice([
        (f"({a}, {b})", [f"({a},{b})", rf"\left({a}, {b}\right)", f"( {a} , {b} )", f"({a}.0, {b})", rf"\left( {a},\; {b} \right)", f"P({a}, {b})", f"({a},{b}).", f"(x,y)=({a},{b})"]),
        (f"[{a}, {b})", [f"[{a},{b})", rf"\left[{a}, {b}\right)", rf"x \in [{a},{b})"]), (rf"(-\infty, {a}]", [rf"(-\infty,{a}]", rf"\left(-\infty, {a}\right]", f"(-∞,{a}]"]),
        (rf"(-\infty,{a})\cup({a + 5},\infty)", [rf"\left(-\infty,{a}\right)\cup\left({a + 5},\infty\right)", f"(-∞,{a})∪({a + 5},∞)", rf"({a + 5},\infty) \cup (-\infty,{a})"]),
        (rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", [rf"\begin{{pmatrix}} {a} \\ {b} \end{{pmatrix}}", rf"\begin{{bmatrix}}{a}\\{b}\end{{bmatrix}}", rf"\left(\begin{{array}}{{c}}{a}\\{b}\end{{array}}\right)"]),
    ])  # fmt: skip
    return gold, draw.choice(["{}", "${}$"]).format(draw.choice(spellings))


def same_form(draw: random.Random) -> Pair:
    a, b, c = draw.randint(1, 9), draw.randint(10, 59), draw.randint(2, 9)
    y, m, d = draw.randint(1900, 2030), draw.randint(1, 12), draw.randint(1, 28)
    gold, spellings = draw.choice([
        (f"{a}-{b}", [f"{a} - {b}", f"{a}–{b}", f"{a}—{b}", f"{a} to {b}", f"{a}.0-{b}.0", rf"{a}\text{{-}}{b}", f"${a}-{b}$", f"{a}--{b}", rf"{a} \text{{ to }} {b}"]),
        (f"{y}-{m:02d}-{d:02d}", [f"{y}-{m}-{d}", f"{y}/{m:02d}/{d:02d}", f"{MONTHS[m - 1]} {d}, {y}", f"{d} {MONTHS[m - 1]} {y}", f"{MONTHS[m - 1][:3]} {d}, {y}", rf"\text{{{MONTHS[m - 1]} {d}, {y}}}"]),
        (f"{a}:{b}", [f"{a} : {b}", f"0{a}:{b}", f"{a}:{b} a.m.", rf"{a}\colon {b}", f"$ {a}: {b} $", f"{a}∶{b}", f"{a}:{b} PM"]),
        (f"{a}:{c}", [f"{a} : {c}", f"{2 * a}:{2 * c}" if c < 5 else f"{a}: {c}", rf"\frac{{{a}}}{{{c}}}", rf"{a}\colon {c}", f"{a}/{c}", f"{a}∶{c}"]), (f"{a}:{c}:{a + 1}", [f"{a} : {c} : {a + 1}", f"{2 * a}:{2 * c}:{2 * a + 2}"]),
        (f"1011_{{{c}}}", [f"1011_{c}", f"(1011)_{c}", rf"1011_{{\text{{{c}}}}}", f"1011₀".replace("₀", "₀₁₂₃₄₅₆₇₈₉"[c]), f"1011 base {c}", f"$1011_{c}$"]),
        (rf"{a} \times {c} \times {b}", [f"{a}×{c}×{b}", f"{a} x {c} x {b}", rf"{a}\times{c}\times{b}", f"{a}x{c}x{b}", f"{a} cm × {c} cm × {b} cm", f"{a}*{c}*{b}"]),
        ("2-5-3-1-4", ["2 - 5 - 3 - 1 - 4", "2–5–3–1–4", "$2-5-3-1-4$", r"2 \to 5 \to 3 \to 1 \to 4"]), (f"{a} h {b} min", [f"{a} hours {b} minutes", f"{a} h {b} min", rf"{a}\text{{ h }}{b}\text{{ min}}", f"{a} hr {b} mins"]),
        (f"1.{c}\\times10^{{-{b}}}", [rf"1.{c} \times 10^{{-{b}}}", f"1.{c}e-{b}", rf"1.{c}\cdot 10^{{-{b}}}", f"1.{c}×10⁻{b}".replace(str(b), "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(k)] for k in str(b))), rf"1.{c} \times 10 ^ {{ -{b} }}"]),
        (rf"0.\overline{{{a}}}", [rf"\frac{{{a}}}{{9}}", f"{a}/9", rf"0.{a}\overline{{{a}}}", rf"0.\dot{{{a}}}"]),
    ])  # fmt: skip
    return gold, draw.choice(spellings)


def same_words(draw: random.Random) -> Pair:
    text = draw.choice(
        [
            *WORDS.split(),
            "Lemmon and cherry.",
            "only green",
            "square $D$",
            "It will never happen",
            "The area is the same",
            "RSR",
            "Right triangle",
        ]
    )
    spellings = [
        text,
        rf"\text{{{text}}}",
        text.capitalize(),
        f"{text}.",
        rf"\textbf{{{text}}}",
        rf"\mathrm{{{text}}}" if " " not in text else text,
        f" {text} ",
        text.replace(" ", "  "),
    ]
    return text, draw.choice(spellings)


def same_letter(draw: random.Random) -> Pair:
    letter = draw.choice("ABCDE")
    gold = draw.choice(
        [letter, f"({letter})", f"{letter}.", f"{letter})", rf"\text{{{letter}}}", f"{letter}. 35", f"({letter}) 35"]
    )
    spellings = [
        letter,
        f"({letter})",
        f"{letter}.",
        f"{letter})",
        rf"\text{{{letter}}}",
        rf"\textbf{{({letter})}}",
        rf"\mathbf{{{letter}}}",
        f"{letter}. 35",
        f"({letter}) 35",
        f"{letter}: 35",
        f"Option {letter}",
        f"option ({letter})",
    ]
    spellings += [rf"\text{{({letter})}}\ 35", rf"\textbf{{({letter}) }} 35", f"({letter}).", f"Answer: {letter}"]
    return gold, draw.choice([*spellings, "35"] if "35" in gold else spellings)


def same_algebra(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    gold, spellings = draw.choice([
        (f"{a}x+{b}", [f"{b}+{a}x", rf"{a} x + {b}", rf"{a}\cdot x+{b}", rf"({a}x+{b})", rf"x\cdot {a} + {b}"]), (f"x^{{{a}}}", [f"x^{a}", f"x ^ {{ {a} }}", f"x*x^{a - 1}", "x" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[a]]),
        (f"(x+{a})(x-{b})", [f"(x-{b})(x+{a})", f"x^2+{a - b}x-{a * b}".replace("+-", "-"), rf"(x+{a})\cdot(x-{b})", rf"\left(x+{a}\right)\left(x-{b}\right)"]),
        (rf"\frac{{{a}x}}{{{b}}}", [rf"\frac{{{a}}}{{{b}}}x", rf"\dfrac{{{a}x}}{{{b}}}", f"{a}x/{b}", rf"\frac {{ {a} x }} {{ {b} }}"]), ("xy", ["yx", r"x \cdot y", r"x\times y", "x y"]),
        (rf"\sin {a}x", [rf"\sin({a}x)", rf"\sin{{{a}x}}", f"sin({a}x)"]), (rf"\sqrt{{a^2+b^2}}", [r"\sqrt{b^2+a^2}", r"\sqrt { a ^ 2 + b ^ 2 }", r"(a^2+b^2)^{1/2}"]),
        (rf"\frac{{\sqrt{{3}}}}{{{a}}}s^2", [rf"\frac{{\sqrt{{3}}s^2}}{{{a}}}", rf"\frac{{s^2\sqrt{{3}}}}{{{a}}}", rf"\dfrac{{\sqrt{{3}}}}{{{a}}}s^{{2}}"]), (rf"\pi r^2", ["πr²", r"r^2\pi", r"\pi\cdot r^{2}", "pi r^2"]),
        ("2AB+CD", ["CD+2AB", r"2 \cdot AB + CD", r"2\overline{AB}+CD".replace(r"\overline{AB}", "AB")]), (rf"{a}!", [f"{a}!", rf"{a} !"]), ("e^{i\\pi}", ["-1", r"e^{\pi i}"]), ("|x-1|", ["|1-x|", r"\left|x-1\right|", r"\lvert x - 1\rvert"]),
        (rf"\log_{{2}} {a}", [rf"\log_2 {a}", rf"\log_2({a})", rf"\log_{{2}}{a}"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


SAME: tuple[Callable[[random.Random], Pair], ...] = (
    same_number, same_decimal, same_fraction, same_root, same_pi, same_angle, same_unit, same_mark, same_list, same_names, same_point, same_form,
    same_words, same_letter, same_algebra,
)  # fmt: skip


def same(*, of_each_kind: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind, gold, answer: distinct pairs of one value in two spellings; fewer where a kind has fewer."""
    for kind in SAME:
        draw = random.Random(f"{seed} {kind.__name__}")
        drawn = (kind(draw) for _ in range(30 * of_each_kind))
        for gold, answer in itertools.islice(dict.fromkeys(drawn), of_each_kind):
            yield kind.__name__, gold, answer
