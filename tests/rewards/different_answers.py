r"""Pairs of a gold and the content of a `\boxed{}` that say different values, which people confuse, made by kind from a fixed seed.

Each kind leaves out a pair whose values happen to be equal.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction

Pair = tuple[str, str]
Draw = Callable[[random.Random], Pair | None]  # None: the two happen to be equal

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WORDS = (
    "isosceles scalene equilateral acute obtuse right parallel perpendicular square rhombus trapezoid circle ellipse parabola "
    "yes no red green blue increase decrease north south east west Monday Tuesday Friday Paris London kangaroo beaver never "
    "always true false was saw dog god not ton"
)
UNITS = ["cm", "m", "km", "mm", "kg", "g", "s", "min", "h", "L", "ft", "in", "N", "J", "W", "V"]


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
    a, b = draw.sample(range(2, 12), 2)
    x, y = draw.choice(
        [("x", "y"), (r"\alpha", r"\beta"), ("AB", "CD"), ("X", "Y"), ("a", "b"), (r"\angle A", r"\angle B"), ("BC", "AD")]
    )
    gold, wrongs = draw.choice([
        (f"{x}+{y}={10 * a}", [f"{x}-{y}={10 * a}", str(10 * a), f"{x}={10 * a}", f"{x}+{y}={10 * b}", f"2{x}+{y}={10 * a}",
            f"{x}{y}={10 * a}"]),
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
        ("R", ["r", "R'", "R_1", "2R", "R^2", r"\vec{R}"]), ("a_1", ["a_2", "a", "a^1", "1a", "A_1"]), (r"\theta", [r"\phi",
            "t", r"2\theta", r"\Theta"]),
        ("AB", ["BA", "A", "ab", "AC", "AB'", "2AB"]), (r"\vec{a}", [r"\vec{b}", "2a", r"-\vec{a}", r"\vec{a}+1"]),
        (f"{a}!", [str(a + 100), f"{b}!", f"({a}!)!" if a > 2 else "0", f"{a}!!" if a > 2 else "3"]), (f"\\log_{a} 7",
            [f"\\log_{b} 7", r"\log 7", f"\\log_{a} 8", "7"]),
        (f"f(x)=x^{a}", [f"f(x)=x^{b}", f"g(x)=x^{a}", f"f(x)={a}x", str(a)]), (r"\infty", [r"-\infty", "0", "1", "8"]),
            (r"\emptyset", ["0", r"\infty", "1"]),
    ])  # fmt: skip
    return gold, draw.choice(wrongs)


DIFFERENT: tuple[Draw, ...] = (
    number, fraction, root, angle, plane_angle, span, date, time, ratio, pair, named_values, equation, word, arrangement,
    letter, base, unit,
    dimensions, tiny, unlike_algebra,
)  # fmt: skip


def different(*, of_each_kind: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind, gold, answer: distinct pairs of different values."""
    for kind in DIFFERENT:
        draw = random.Random(f"{seed} {kind.__name__}")
        drawn = filter(None, (kind(draw) for _ in range(100 * of_each_kind)))
        for gold, answer in itertools.islice(dict.fromkeys(drawn), of_each_kind):
            yield kind.__name__, gold, answer
