r"""Pairs of a gold and the content of a `\boxed{}` that say one value in two spellings, made by kind from a fixed seed."""

import itertools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction

from different_answers import MONTHS, WORDS, Pair

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
        (rf"{a}\sqrt{{{b}}}", [rf"{a} \sqrt {{ {b} }}", rf"\sqrt{{{a * a * b}}}", rf"{a}\cdot\sqrt{{{b}}}",
            rf"{a}\times\sqrt{{{b}}}", f"{a}√{b}", f"{a}sqrt({b})", rf"{a}\sqrt[2]{{{b}}}",
            rf"\frac{{{a * b}}}{{\sqrt{{{b}}}}}", rf"{a} * sqrt({b})", rf"{a}\,\sqrt{{{b}}}", rf"\sqrt{{{b}}}\cdot {a}",
            f"{a * b**0.5:.6f}"]),
        (rf"\frac{{\sqrt{{{b}}}}}{{{c}}}", [rf"\frac {{ \sqrt {{ {b} }} }} {{ {c} }}", rf"\dfrac{{\sqrt{{{b}}}}}{{{c}}}",
            rf"\sqrt{{{b}}}/{c}", f"√{b}/{c}", rf"\frac{{1}}{{{c}}}\sqrt{{{b}}}",
            rf"\frac{{{2}\sqrt{{{b}}}}}{{{2 * c}}}", rf"\sqrt{{\frac{{{b}}}{{{c * c}}}}}", rf"sqrt({b})/{c}",
            rf"\frac{{{b}}}{{{c}\sqrt{{{b}}}}}"]),
        (rf"{a}+{c}\sqrt{{{b}}}", [rf"{a} + {c} \sqrt {{ {b} }}", rf"{c}\sqrt{{{b}}}+{a}", f"{a}+{c}√{b}",
            rf"({a}+{c}\sqrt{{{b}}})", rf"{a}+\sqrt{{{c * c * b}}}", rf"{a}-(-{c})\sqrt{{{b}}}"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_pi(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 40), draw.choice([2, 3, 4, 6])
    gold, spellings = draw.choice([
        (rf"{a}\pi", [f"{a}π", f"{a} pi", f"{a}pi", rf"{a} \pi", rf"{a}\cdot\pi", rf"\pi \times {a}",
            rf"{a}\pi \text{{ cm}}^2", rf"{a}*\pi"]),
        (rf"\frac{{\pi}}{{{b}}}", [f"pi/{b}", f"π/{b}", rf"\pi/{b}", rf"\dfrac{{\pi}}{{{b}}}", rf"\frac\pi{b}",
            rf"\frac {{ \pi }} {{ {b} }}", rf"\frac{{1}}{{{b}}}\pi", rf"\frac{{2\pi}}{{{2 * b}}}"]),
        (f"{a}pi", [rf"{a}\pi", f"{a}π", rf"{a} \cdot \pi"]), (f"{a}-{b}\\pi", [rf"{a} - {b} \pi", rf"-{b}\pi+{a}",
            f"{a}-{b}π", rf"{a} - {b}\cdot\pi"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


def same_angle(draw: random.Random) -> Pair:
    a, m = draw.randint(1, 179), draw.choice([6, 12, 15, 30, 45])
    gold, spellings = draw.choice([
        (draw.choice([str(a), rf"{a}^\circ", f"{a}°", f"{a} degrees", rf"{a}{{degrees}}", rf"<answer> {a}° </answer>"]),
            [rf"{a}^\circ", rf"{a}^{{\circ}}", rf"{a} ^ {{ \circ }}", f"{a}°", f"{a}º",
            f"{a} degrees", rf"{a}\degree", rf"{a}\text{{ degrees}}", rf"{a}\,^\circ", rf"{a}{{}}^\circ",
            rf"\angle A = {a}^\circ", rf"m\angle ABC={a}°", rf"\alpha = {a}^\circ", f"x={a}", str(a),
            rf"{a}^\circ.", f"{a} deg", f"{a}°".translate(FULL_WIDTH), rf"\theta={a}°"]),
        (rf"{a}^\circ {m}'", [f"{a}°{m}′", f"{a}° {m}'", rf"{a}^{{\circ}}{m}'", rf"{a}^\circ{m}'", f"{a + m / 60:g}°",
            rf"\angle A={a}^\circ {m}'", rf"{a}^{{\circ}} {m}^{{\prime}}"]),
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
        (draw.choice([f"{a}%", rf"{a}\%", str(a), rf"{a} \%"]), [f"{a}%", rf"{a}\%", f"{a} percent", str(a), rf"{a}\,\%",
            f"{a} %", f"{a} per cent"]),
        (draw.choice([f"${a}", rf"\${a}", f"{a} dollars"]), [rf"\${a}", f"${a}$", f"{a} dollars", f"\\text{{\\${a}}}", str(a),
            f"${a}.00$"]),
        (f"{a} apples", [str(a), f"{a} apples", rf"{a} \text{{ apples}}", f"{a} Apples"]), (f"{a}°C", [str(a), f"{a} °C",
            rf"{a}^\circ\mathrm{{C}}", f"{a}℃", rf"{a} ^\circ C"]),
    ])  # fmt: skip
    return gold, draw.choice(spellings)


def same_list(draw: random.Random) -> Pair:
    a, b, c = draw.sample(range(2, 60), 3)
    gold, spellings = draw.choice([
        (f"{a}, {b}", [f"{a},{b}", f"{b}, {a}", f"{a} and {b}", rf"{a} \text{{ and }} {b}", f"{a} or {b}", rf"\{{{a}, {b}\}}",
            f"{a}; {b}", rf"\left\{{{b},{a}\right\}}", f"x={a}, x={b}", rf"{a},\, {b}", f"x = {a} or x = {b}"]),
        (f"{a}, {b}, {c}", [f"{c},{a},{b}", f"{a},{b} and {c}", f"{a}, {b}, and {c}", rf"\{{ {b}, {a}, {c} \}}", rf"{a},\;{b},\;{c}"]),
        (rf"\pm {a}", [f"±{a}", f"{a}, -{a}", f"x=\\pm {a}", rf"-{a} \text{{ or }} {a}", rf"\{{-{a}, {a}\}}"]),
        (f"{a}\\pm\\sqrt{{3}}", [rf"{a}+\sqrt{{3}}, {a}-\sqrt{{3}}", rf"{a} \pm \sqrt 3", rf"x={a}\pm\sqrt{{3}}"]),
    ])  # fmt: skip
    return gold, draw.choice(["{}", "${}$"]).format(draw.choice(spellings))


def same_names(draw: random.Random) -> Pair:
    a, b = draw.sample(range(2, 60), 2)
    gold, spellings = draw.choice([
        (f"x={a}, y={b}", [f"y={b}, x={a}", rf"x = {a},\ y = {b}", f"{a}, {b}", f"x={a} and y={b}", rf"(x, y) = ({a}, {b})",
            rf"x={a},\quad y={b}", f"x={a}; y={b}"]),
        (f"x={a}", [str(a), f"x = {a}", f"{a}=x", rf"x={a}.0", f"$x={a}$", rf"x=\frac{{{2 * a}}}{{2}}"]), (f"AB={a}", [str(a),
            rf"\overline{{AB}}={a}", f"AB = {a} cm", f"AB={a - 1}+1={a}"]),
        (f"\\alpha+\\beta={a}^\\circ", [f"α+β={a}°", rf"\beta+\alpha={a}", rf"\alpha + \beta = {a}^{{\circ}}", rf"\alpha={a}^\circ-\beta"]),
        ("AB=CD", ["CD=AB", "AB = CD", r"\text{AB}=\text{CD}", "$AB = CD$"]), (f"y={a}x+{b}", [f"y = {b}+{a}x",
            f"{a}x - y + {b} = 0", f"y={a} x + {b}", rf"y = {a}\cdot x+{b}"]),
        (f"x>{a}", [f"{a}<x", f"x > {a}", rf"x \gt {a}", f"2x>{2 * a}"]), (rf"x \le {a}", [f"x≤{a}", rf"x\leq {a}",
            rf"{a} \ge x", f"x <= {a}"]),
        (f"f(x)=x^2+{a}", [f"x^2+{a}", f"f(x) = {a}+x^{{2}}", f"f(x)=x²+{a}"]), (f"{min(a, b)}<x<{max(a, b)}",
            [rf"{min(a, b)} \lt x \lt {max(a, b)}", f"{max(a, b)}>x>{min(a, b)}"]),
    ])  # fmt: skip
    return gold, draw.choice(spellings)


def same_point(draw: random.Random) -> Pair:
    a, b = draw.sample(range(-20, 20), 2)
    gold, spellings = draw.choice([
        (f"({a}, {b})", [f"({a},{b})", rf"\left({a}, {b}\right)", f"( {a} , {b} )", f"({a}.0, {b})",
            rf"\left( {a},\; {b} \right)", f"P({a}, {b})", f"({a},{b}).", f"(x,y)=({a},{b})"]),
        (f"[{a}, {b})", [f"[{a},{b})", rf"\left[{a}, {b}\right)", rf"x \in [{a},{b})"]), (rf"(-\infty, {a}]",
            [rf"(-\infty,{a}]", rf"\left(-\infty, {a}\right]", f"(-∞,{a}]"]),
        (rf"(-\infty,{a})\cup({a + 5},\infty)", [rf"\left(-\infty,{a}\right)\cup\left({a + 5},\infty\right)",
            f"(-∞,{a})∪({a + 5},∞)", rf"({a + 5},\infty) \cup (-\infty,{a})"]),
        (rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", [rf"\begin{{pmatrix}} {a} \\ {b} \end{{pmatrix}}",
            rf"\begin{{bmatrix}}{a}\\{b}\end{{bmatrix}}", rf"\left(\begin{{array}}{{c}}{a}\\{b}\end{{array}}\right)"]),
    ])  # fmt: skip
    return gold, draw.choice(["{}", "${}$"]).format(draw.choice(spellings))


def same_form(draw: random.Random) -> Pair:
    a, b, c = draw.randint(1, 9), draw.randint(10, 59), draw.randint(2, 9)
    y, m, d = draw.randint(1900, 2030), draw.randint(1, 12), draw.randint(1, 28)
    gold, spellings = draw.choice([
        (f"{a}-{b}", [f"{a} - {b}", f"{a}–{b}", f"{a}—{b}", f"{a} to {b}", f"{a}.0-{b}.0", rf"{a}\text{{-}}{b}", f"${a}-{b}$",
            f"{a}--{b}", rf"{a} \text{{ to }} {b}"]),
        (f"{y}-{m:02d}-{d:02d}", [f"{y}-{m}-{d}", f"{y}/{m:02d}/{d:02d}", f"{MONTHS[m - 1]} {d}, {y}",
            f"{d} {MONTHS[m - 1]} {y}", f"{MONTHS[m - 1][:3]} {d}, {y}", rf"\text{{{MONTHS[m - 1]} {d}, {y}}}"]),
        (f"{a}:{b}", [f"{a} : {b}", f"0{a}:{b}", f"{a}:{b} a.m.", rf"{a}\colon {b}", f"$ {a}: {b} $", f"{a}∶{b}", f"{a}:{b} PM"]),
        (f"{a}:{c}", [f"{a} : {c}", f"{2 * a}:{2 * c}" if c < 5 else f"{a}: {c}", rf"\frac{{{a}}}{{{c}}}", rf"{a}\colon {c}",
            f"{a}/{c}", f"{a}∶{c}"]), (f"{a}:{c}:{a + 1}", [f"{a} : {c} : {a + 1}", f"{2 * a}:{2 * c}:{2 * a + 2}"]),
        (f"1011_{{{c}}}", [f"1011_{c}", f"(1011)_{c}", rf"1011_{{\text{{{c}}}}}", "1011₀".replace("₀", "₀₁₂₃₄₅₆₇₈₉"[c]),
            f"1011 base {c}", f"$1011_{c}$"]),
        (rf"{a} \times {c} \times {b}", [f"{a}×{c}×{b}", f"{a} x {c} x {b}", rf"{a}\times{c}\times{b}", f"{a}x{c}x{b}",
            f"{a} cm × {c} cm × {b} cm", f"{a}*{c}*{b}"]),
        ("2-5-3-1-4", ["2 - 5 - 3 - 1 - 4", "2–5–3–1–4", "$2-5-3-1-4$", r"2 \to 5 \to 3 \to 1 \to 4"]), (f"{a} h {b} min",
            [f"{a} hours {b} minutes", f"{a} h {b} min", rf"{a}\text{{ h }}{b}\text{{ min}}", f"{a} hr {b} mins"]),
        (f"1.{c}\\times10^{{-{b}}}", [rf"1.{c} \times 10^{{-{b}}}", f"1.{c}e-{b}", rf"1.{c}\cdot 10^{{-{b}}}",
            f"1.{c}×10⁻{b}".replace(str(b), "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(k)] for k in str(b))), rf"1.{c} \times 10 ^ {{ -{b} }}"]),
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
        text[0].upper() + text[1:],
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
        (f"{a}x+{b}", [f"{b}+{a}x", rf"{a} x + {b}", rf"{a}\cdot x+{b}", rf"({a}x+{b})", rf"x\cdot {a} + {b}"]),
            (f"x^{{{a}}}", [f"x^{a}", f"x ^ {{ {a} }}", f"x*x^{a - 1}", "x" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[a]]),
        (f"(x+{a})(x-{b})", [f"(x-{b})(x+{a})", f"x^2+{a - b}x-{a * b}".replace("+-", "-"), rf"(x+{a})\cdot(x-{b})",
            rf"\left(x+{a}\right)\left(x-{b}\right)"]),
        (rf"\frac{{{a}x}}{{{b}}}", [rf"\frac{{{a}}}{{{b}}}x", rf"\dfrac{{{a}x}}{{{b}}}", f"{a}x/{b}",
            rf"\frac {{ {a} x }} {{ {b} }}"]), ("xy", ["yx", r"x \cdot y", r"x\times y", "x y"]),
        (rf"\sin {a}x", [rf"\sin({a}x)", rf"\sin{{{a}x}}", f"sin({a}x)"]), (r"\sqrt{a^2+b^2}", [r"\sqrt{b^2+a^2}",
            r"\sqrt { a ^ 2 + b ^ 2 }", r"(a^2+b^2)^{1/2}"]),
        (rf"\frac{{\sqrt{{3}}}}{{{a}}}s^2", [rf"\frac{{\sqrt{{3}}s^2}}{{{a}}}", rf"\frac{{s^2\sqrt{{3}}}}{{{a}}}",
            rf"\dfrac{{\sqrt{{3}}}}{{{a}}}s^{{2}}"]), (r"\pi r^2", ["πr²", r"r^2\pi", r"\pi\cdot r^{2}", "pi r^2"]),
        ("2AB+CD", ["CD+2AB", r"2 \cdot AB + CD", r"2\overline{AB}+CD".replace(r"\overline{AB}", "AB")]), (rf"{a}!", [f"{a}!",
            rf"{a} !"]), ("e^{i\\pi}", ["-1", r"e^{\pi i}"]), ("|x-1|", ["|1-x|", r"\left|x-1\right|", r"\lvert x - 1\rvert"]),
        (rf"\log_{{2}} {a}", [rf"\log_2 {a}", rf"\log_2({a})", rf"\log_{{2}}{a}"]),
    ])  # fmt: skip
    return gold, draw.choice(MATHEMATICAL).format(draw.choice(spellings))


SAME: tuple[Callable[[random.Random], Pair], ...] = (
    same_number, same_decimal, same_fraction, same_root, same_pi, same_angle, same_unit, same_mark, same_list, same_names,
    same_point, same_form,
    same_words, same_letter, same_algebra,
)  # fmt: skip


def same(*, of_each_kind: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind, gold, answer: distinct pairs of one value in two spellings; fewer where a kind has fewer."""
    for kind in SAME:
        draw = random.Random(f"{seed} {kind.__name__}")
        drawn = (kind(draw) for _ in range(30 * of_each_kind))
        for gold, answer in itertools.islice(dict.fromkeys(drawn), of_each_kind):
            yield kind.__name__, gold, answer
