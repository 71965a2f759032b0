"""Draws the loop of teaching as SVG text: `python -m documentation.figure` writes docs/loop.svg."""

from pathlib import Path

PATH = Path(__file__).parents[1] / "docs" / "loop.svg"
FORWARD, BACK, SEEN, INK = "#0072B2", "#D55E00", "#777777", "#222222"  # Okabe and Ito's blue and vermilion
WIDTH, HEIGHT = 960, 400
# Heights of the rows.
TEACHER, STUDENT, GRADIENT = 60, 200, 340
# The student's states and, between them, its updates: each with its index.
STATES = ((110, "0"), (310, "1"), (630, "T"))
UPDATES = ((210, "0"), (410, "1"), (530, "T−1"))
LEFT, RIGHT, MEASURE = 70, 670, 840


def main() -> None:
    """Write the figure."""
    PATH.write_text(figure(), encoding="utf-8")


def figure() -> str:
    """Return the figure."""
    heads = "".join(_head(name, colour) for name, colour in (("blue", FORWARD), ("red", BACK), ("grey", SEEN)))
    parts = [_teacher(), _student(), *map(_update, UPDATES), *map(_observation, STATES[:2]), _gradient(), _key()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">\n'
        "<title>A teacher chooses the loss of every update of a student, and learns from the gradient of a measure "
        "on dev, carried back through all of these updates</title>\n"
        f"<defs>{heads}</defs>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


# The nouns -------------------------------------------------------------------------


def _teacher() -> str:
    formula = f"teacher: {_sub('Φ', 't')} = {_sub('μ', 'θ')}({_sub('s', 't')})"
    return _box(LEFT, RIGHT, TEACHER, FORWARD) + _text((LEFT + RIGHT) / 2, TEACHER, formula, INK)


def _student() -> str:
    """The states, the measure of the last one, and the arrows between them, there and back."""
    drawn = [
        _box(MEASURE - 80, MEASURE + 80, STUDENT, INK),
        _text(MEASURE, STUDENT, f"M̃({_sub('ω', 'T')}) on dev", INK),
    ]
    for x, index in STATES:
        drawn += [_circle(x, STUDENT), _text(x, STUDENT, _sub("ω", index), INK)]
    drawn.append(_text((UPDATES[1][0] + UPDATES[2][0]) / 2, STUDENT, "…", INK, 24))
    for left, right in ((142, 278), (342, 450), (490, 598), (662, MEASURE - 80)):
        drawn += [_arrow(left, STUDENT - 8, right, STUDENT - 8, FORWARD)]
        drawn += [_arrow(right, STUDENT + 8, left, STUDENT + 8, BACK)]
    return "".join(drawn) + _text((STATES[-1][0] + MEASURE - 50) / 2, STUDENT + 28, _sub("dω", "T"), BACK)


def _gradient() -> str:
    """The sum at the bottom, and its way to the teacher on the left."""
    formula = f"∂M̃/∂θ = Σ (∂{_sub('Φ', 't')}/∂θ)ᵀ {_sub('dΦ', 't')}"
    outside = LEFT - 40
    way = f"M {LEFT} {GRADIENT} H {outside + 10} Q {outside} {GRADIENT} {outside} {GRADIENT - 10} V {TEACHER + 10} "
    way += f"Q {outside} {TEACHER} {outside + 10} {TEACHER} H {LEFT - 3}"
    drawn = f'<path d="{way}" fill="none" stroke="{BACK}" stroke-width="2" marker-end="url(#red)"/>'
    label = (
        f'<text transform="translate({outside - 8} {STUDENT}) rotate(-90)" fill="{BACK}" font-size="14">θ moves</text>'
    )
    return drawn + label + _box(LEFT, RIGHT, GRADIENT, BACK) + _text((LEFT + RIGHT) / 2, GRADIENT, formula, BACK)


# The arrows ------------------------------------------------------------------------


def _update(place: tuple[int, str]) -> str:
    """Φ_t from the teacher to an update, dΦ_t from the update to the teacher's gradient."""
    x, index = place
    there = _arrow(x, TEACHER + 26, x, STUDENT - 12, FORWARD) + _text(
        x + 8, 128, _sub("Φ", index), FORWARD, anchor="start"
    )
    back = _arrow(x, STUDENT + 12, x, GRADIENT - 26, BACK) + _text(x + 8, 266, _sub("dΦ", index), BACK, anchor="start")
    return there + back


def _observation(place: tuple[int, str]) -> str:
    """s_t from a state to the teacher."""
    x, index = place
    return _arrow(x, STUDENT - 30, x, TEACHER + 26, SEEN) + _text(x + 8, 128, _sub("s", index), SEEN, anchor="start")


def _key() -> str:
    update = f"{_sub('ω', 't+1')} = {_sub('ω', 't')} − η ∇l({_sub('ω', 't')}; {_sub('Φ', 't')})"
    lines = (
        (40, "forward: the student's updates", FORWARD),
        (62, update, FORWARD),
        (92, f"{_sub('s', 't')}: how far the student is", SEEN),
        (318, "back: through all updates,", BACK),
        (340, "second derivatives included", BACK),
    )
    return "".join(_text(700, y, text, colour, 15, "start") for y, text, colour in lines)


# Pieces of SVG ---------------------------------------------------------------------


def _sub(letter: str, index: str) -> str:
    """A letter with an index below the line; what follows is on the line again."""
    return f'{letter}<tspan dy="5" font-size="70%">{index}</tspan><tspan dy="-5">&#8203;</tspan>'


def _text(x: float, y: float, text: str, colour: str, size: int = 17, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y + 6:g}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{text}</text>\n'


def _box(left: float, right: float, y: float, colour: str) -> str:
    place = f'x="{left}" y="{y - 25}" width="{right - left}" height="50" rx="8"'
    return f'<rect {place} fill="#ffffff" stroke="{colour}" stroke-width="1.5"/>\n'


def _circle(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="29" fill="#ffffff" stroke="{INK}" stroke-width="1.5"/>\n'


def _arrow(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    head = {FORWARD: "blue", BACK: "red", SEEN: "grey"}[colour]
    ends = f'x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}"'
    return f'<line {ends} stroke="{colour}" stroke-width="2" marker-end="url(#{head})"/>\n'


def _head(name: str, colour: str) -> str:
    box = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" orient="auto"'
    return f'<marker id="{name}" {box}><path d="M0 0L8 4L0 8Z" fill="{colour}"/></marker>'


if __name__ == "__main__":
    main()
