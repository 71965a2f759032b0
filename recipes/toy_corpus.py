"""Write a small German-English corpus from a grammar, for demos and tests without a download.

    python recipes/toy_corpus.py --out DIR --pairs 4000 --seed 1

writes raw text, `train`, `valid` and `test` in `.de` and `.en`, made of a few hundred
words. The German has gender, three cases and adjective endings, separable verbs, modals
with the infinitive last and verb-final clauses, so word order and word forms must be
learned, not copied. No sentence, German or English, occurs in two splits.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MAX_MISSES = 10_000  # after so many draws in a row without a new sentence the grammar counts as exhausted

# gender, German singular and plural, English singular and plural
PEOPLE = """
m Mann Männer man men; m Vater Väter father fathers; m Bruder Brüder brother brothers; m Arzt Ärzte doctor doctors
m Freund Freunde friend friends; m Lehrer Lehrer teacher teachers; m Koch Köche cook cooks
m Bäcker Bäcker baker bakers; m Maler Maler painter painters; m Sohn Söhne son sons; m Gast Gäste guest guests
f Frau Frauen woman women; f Mutter Mütter mother mothers; f Schwester Schwestern sister sisters
f Tochter Töchter daughter daughters; f Tante Tanten aunt aunts; f Königin Königinnen queen queens
f Nachbarin Nachbarinnen neighbor neighbors; f Sängerin Sängerinnen singer singers
n Kind Kinder child children; n Mädchen Mädchen girl girls; n Baby Babys baby babies
"""
THINGS = """
m Brief Briefe letter letters; m Apfel Äpfel apple apples; m Schlüssel Schlüssel key keys; m Ball Bälle ball balls
m Kuchen Kuchen cake cakes; m Hut Hüte hat hats; m Stuhl Stühle chair chairs; m Koffer Koffer suitcase suitcases
m Ring Ringe ring rings; m Stein Steine stone stones; m Korb Körbe basket baskets; m Teller Teller plate plates
f Tasche Taschen bag bags; f Blume Blumen flower flowers; f Zeitung Zeitungen newspaper newspapers
f Lampe Lampen lamp lamps; f Uhr Uhren clock clocks; f Flasche Flaschen bottle bottles; f Karte Karten map maps
f Jacke Jacken jacket jackets; f Gabel Gabeln fork forks; f Puppe Puppen doll dolls; f Kiste Kisten box boxes
n Buch Bücher book books; n Bild Bilder picture pictures; n Fahrrad Fahrräder bicycle bicycles
n Brot Brote loaf loaves; n Glas Gläser glass glasses; n Kleid Kleider dress dresses; n Messer Messer knife knives
n Geschenk Geschenke gift gifts; n Radio Radios radio radios; n Hemd Hemden shirt shirts; n Ei Eier egg eggs
"""
PLACES = """
m Garten Gärten garden gardens; m Park Parks park parks; m Wald Wälder forest forests; m Laden Läden shop shops
f Küche Küchen kitchen kitchens; f Schule Schulen school schools; f Stadt Städte city cities
f Kirche Kirchen church churches; n Büro Büros office offices; n Zimmer Zimmer room rooms; n Haus Häuser house houses
n Hotel Hotels hotel hotels; n Museum Museen museum museums; n Dorf Dörfer village villages
"""
ADJECTIVES = {
    "people": "klein small, groß big, alt old, jung young, freundlich friendly, klug clever, reich rich, arm poor, "
    "stark strong, höflich polite, fleißig diligent, ruhig quiet",
    "things": "klein small, groß big, alt old, neu new, schön beautiful, rot red, blau blue, grün green, "
    "schwarz black, weiß white, billig cheap, schwer heavy, leicht light",
    "places": "klein small, groß big, alt old, neu new, schön beautiful, warm warm, kalt cold",
}
# objects; prefix-infinitive; er form, past, participle; English base, third person, past, participle; particle
VERBS = """
thing kaufen kauft kaufte gekauft buy buys bought bought; thing lieben liebt liebte geliebt love loves loved loved
thing verkaufen verkauft verkaufte verkauft sell sells sold sold
thing suchen sucht suchte gesucht look looks looked looked for
thing finden findet fand gefunden find finds found found
thing brauchen braucht brauchte gebraucht need needs needed needed
thing nehmen nimmt nahm genommen take takes took taken; thing tragen trägt trug getragen carry carries carried carried
thing malen malt malte gemalt paint paints painted painted; thing holen holt holte geholt get gets got gotten
thing putzen putzt putzte geputzt clean cleans cleaned cleaned
thing verlieren verliert verlor verloren lose loses lost lost
thing vergessen vergisst vergaß vergessen forget forgets forgot forgotten
thing weg-werfen wirft warf geworfen throw throws threw thrown away
thing mit-nehmen nimmt nahm genommen take takes took taken along
thing zurück-bringen bringt brachte gebracht bring brings brought brought back
thing ein-packen packt packte gepackt pack packs packed packed
thing auf-heben hebt hob gehoben pick picks picked picked up
thing an-schauen schaut schaute geschaut look looks looked looked at
person sehen sieht sah gesehen see sees saw seen; person treffen trifft traf getroffen meet meets met met
person besuchen besucht besuchte besucht visit visits visited visited
person fragen fragt fragte gefragt ask asks asked asked; person hören hört hörte gehört hear hears heard heard
person rufen ruft rief gerufen call calls called called
person ein-laden lädt lud geladen invite invites invited invited
person ab-holen holt holte geholt pick picks picked picked up
person an-rufen ruft rief gerufen phone phones phoned phoned
helped helfen hilft half geholfen help helps helped helped
helped danken dankt dankte gedankt thank thanks thanked thanked
helped antworten antwortet antwortete geantwortet answer answers answered answered
given geben gibt gab gegeben give gives gave given; given zeigen zeigt zeigte gezeigt show shows showed shown
given schicken schickt schickte geschickt send sends sent sent
given bringen bringt brachte gebracht bring brings brought brought
given leihen leiht lieh geliehen lend lends lent lent
"""
# German singular, plural; English third person singular, other
MODALS = (
    ("kann", "können", "can", "can"),
    ("muss", "müssen", "must", "must"),
    ("will", "wollen", "wants to", "want to"),
    ("soll", "sollen", "should", "should"),
    ("darf", "dürfen", "may", "may"),
)
# German|English
TIMES = {
    "present": ("heute|today", "jetzt|now", "heute Abend|this evening", "jeden Tag|every day"),
    "past": (
        "gestern|yesterday",
        "letzte Woche|last week",
        "vor einem Jahr|a year ago",
        "am Montag|on Monday",
    ),
    "perfect": ("schon|already",),
    "modal": ("heute|today", "jetzt|now", "morgen|tomorrow", "jeden Tag|every day", "am Dienstag|on Tuesday"),
    "future": ("morgen|tomorrow", "bald|soon", "nächste Woche|next week", "am Dienstag|on Tuesday"),
}
# plural, ich form, er form; English base and third person
THINKING = (
    "glauben glaube glaubt believe believes",
    "wissen weiß weiß know knows",
    "hoffen hoffe hofft hope hopes",
    "sagen sage sagt say says",
)

# Rows: nominative, accusative, dative; columns: masculine, feminine, neuter, plural.
CASES = {"nominative": 0, "accusative": 1, "dative": 2}
COLUMNS = {"m": 0, "f": 1, "n": 2, "plural": 3}
DEFINITE = ("der die das die", "den die das die", "dem der dem den")
THIS = ("dieser diese dieses diese", "diesen diese dieses diese", "diesem dieser diesem diesen")
EIN_ENDINGS = (("", "e", "", "e"), ("en", "e", "", "e"), ("em", "er", "em", "en"))
WEAK = (("e", "e", "e", "en"), ("en", "e", "e", "en"), ("en", "en", "en", "en"))
MIXED = (("er", "e", "es", "en"), ("en", "e", "es", "en"), ("en", "en", "en", "en"))
BARE_PLURAL = ("e", "e", "en")
DETERMINERS = ("the", "this", "a", "my", "our", "his")
POSSESSIVES = {"my": "mein", "our": "unser", "his": "sein"}


class Noun(NamedTuple):
    """A noun in both languages; `gender` is m, f or n."""

    gender: str
    singular: str
    plural: str
    english: str
    english_plural: str


class Verb(NamedTuple):
    """A verb in both languages; `prefix` is "" unless the verb is separable."""

    objects: str
    prefix: str
    infinitive: str
    third: str
    past: str
    participle: str
    english: tuple[str, str, str, str]
    particle: str


class Subject(NamedTuple):
    """A subject in the nominative, with the person (1 or 3) and number that the verb must agree with."""

    german: str
    english: str
    person: int
    plural: bool


class Clause(NamedTuple):
    """The parts of a clause before they are ordered: subject, finite verb, middle field, last part."""

    subject: str
    finite: str
    middle: str
    last: str
    joined: bool  # a separable prefix, written together with the verb at the end of a subordinate clause
    time: str
    english: str
    english_time: str


def entries(text: str) -> list[list[str]]:
    """Return the words of every entry; entries are separated by semicolons and line ends."""
    return [entry.split() for line in text.strip().splitlines() for entry in line.split(";")]


def read_verb(words: list[str]) -> Verb:
    """Read an entry of `VERBS`."""
    prefix, _, infinitive = words[1].rpartition("-")
    return Verb(words[0], prefix, infinitive, *words[2:5], tuple(words[5:9]), " ".join(words[9:]))


NOUNS = {
    kind: [Noun(*words) for words in entries(text)]
    for kind, text in (("people", PEOPLE), ("things", THINGS), ("places", PLACES))
}
ALL_VERBS = [read_verb(words) for words in entries(VERBS)]
PRONOUNS = (
    Subject("ich", "I", 1, False),
    Subject("er", "he", 3, False),
    Subject("sie", "she", 3, False),
    Subject("wir", "we", 1, True),
    Subject("sie", "they", 3, True),
)


def noun_phrase(noun: Noun, case: str, determiner: str, adjective: str = "", plural: bool = False) -> tuple[str, str]:
    """Return a noun phrase in both languages.

    Args:
        noun: the noun.
        case: nominative, accusative or dative.
        determiner: one of `DETERMINERS`; "a" in the plural gives a phrase without an article.
        adjective: German and English, separated by a space, or "".
        plural: whether the phrase is plural.
    """
    row, column = CASES[case], COLUMNS["plural" if plural else noun.gender]
    if determiner in ("the", "this"):
        article, ending = (DEFINITE if determiner == "the" else THIS)[row].split()[column], WEAK[row][column]
    elif determiner == "a" and plural:
        article, ending = "", BARE_PLURAL[row]
    else:
        article = POSSESSIVES.get(determiner, "ein") + EIN_ENDINGS[row][column]
        ending = MIXED[row][column]
    german, english = adjective.split() if adjective else ("", "")
    head = noun.plural if plural else noun.singular
    if plural and case == "dative" and head[-1] not in "ns":
        head += "n"
    return (
        join(article, german and german + ending, head),
        join(
            english_determiner(determiner, english or noun.english, plural),
            english,
            english_head(noun, plural),
        ),
    )


def english_head(noun: Noun, plural: bool) -> str:
    """Return the English noun in the singular or plural."""
    return noun.english_plural if plural else noun.english


def english_determiner(determiner: str, following: str, plural: bool) -> str:
    """Return the determiner before the word `following`: a or an, this or these."""
    if determiner == "a":
        if plural:
            return ""
        return "an" if following[0] in "aeiou" else "a"
    return "these" if determiner == "this" and plural else determiner


def place(noun: Noun, adjective: str = "") -> tuple[str, str]:
    """Return "in" with a noun phrase; the German "in dem" is contracted to "im"."""
    german, english = noun_phrase(noun, "dative", "the", adjective)
    contracted = "im " + german[4:] if german.startswith("dem ") else f"in {german}"
    return contracted, f"in {english}"


def join(*words: str) -> str:
    """Join the words that are not empty by single spaces."""
    return " ".join(word for word in words if word)


def verb_group(verb: Verb, subject: Subject, tense: str, modal: int = 0) -> tuple[str, str, bool, str]:
    """Return the verb's parts for a subject.

    Returns:
        German finite verb, German last part, whether the two are one word in a subordinate
        clause, and the English verb without its particle.
    """
    base, third, past, participle = verb.english
    singular_third = subject.person == 3 and not subject.plural
    number = int(subject.plural)
    if tense == "present":
        first = verb.infinitive.removesuffix("en") + "e"
        singular = first if subject.person == 1 else verb.third
        finite = verb.infinitive if subject.plural else singular
        return finite, verb.prefix, True, third if singular_third else base
    if tense == "past":
        plural = verb.past + ("n" if verb.past.endswith("e") else "en")
        return (plural if subject.plural else verb.past), verb.prefix, True, past
    if tense == "perfect":
        finite = "haben" if subject.plural else ("habe" if subject.person == 1 else "hat")
        has = "has" if singular_third else "have"
        return finite, verb.prefix + verb.participle, False, f"{has} already {participle}"
    infinitive = verb.prefix + verb.infinitive
    if tense == "future":
        finite = "werden" if subject.plural else ("werde" if subject.person == 1 else "wird")
        return finite, infinitive, False, f"will {base}"
    forms = MODALS[modal]
    return forms[number], infinitive, False, join(forms[2] if singular_third else forms[3], base)


def draw_phrase(rng: random.Random, kind: str, noun: Noun, case: str) -> tuple[str, str, bool]:
    """Draw a phrase of a noun: German, English, and whether it is plural."""
    adjective = rng.choice(ADJECTIVES[kind].split(", ")) if rng.random() < 0.4 else ""
    plural = rng.random() < 0.3
    return *noun_phrase(noun, case, rng.choice(DETERMINERS), adjective, plural), plural


def draw_subject(rng: random.Random, noun: Noun) -> Subject:
    """Draw a pronoun, or a phrase of the noun in the nominative."""
    if rng.random() < 0.25:
        return rng.choice(PRONOUNS)
    german, english, plural = draw_phrase(rng, "people", noun, "nominative")
    return Subject(german, english, 3, plural)


def draw_objects(rng: random.Random, verb: Verb, person: Noun) -> tuple[str, str, str]:
    """Draw the verb's objects: German dative, German accusative, and both in English."""
    dative = accusative = ("", "", False)
    if verb.objects in ("given", "helped"):
        dative = draw_phrase(rng, "people", person, "dative")
    if verb.objects == "person":
        accusative = draw_phrase(rng, "people", person, "accusative")
    if verb.objects in ("given", "thing"):
        accusative = draw_phrase(rng, "things", rng.choice(NOUNS["things"]), "accusative")
    return dative[0], accusative[0], join(accusative[1], "to" if verb.objects == "given" else "", dative[1])


def draw_clause(rng: random.Random, tenses: tuple[str, ...] = tuple(TIMES)) -> Clause:
    """Draw a clause in one of the tenses."""
    person, other = rng.sample(NOUNS["people"], 2)
    subject, verb, tense = draw_subject(rng, person), rng.choice(ALL_VERBS), rng.choice(tenses)
    finite, last, joined, english_verb = verb_group(verb, subject, tense, rng.randrange(len(MODALS)))
    dative, accusative, english_objects = draw_objects(rng, verb, other)
    where = ("", "")
    if rng.random() < 0.25:
        adjective = rng.choice(ADJECTIVES["places"].split(", ")) if rng.random() < 0.3 else ""
        where = place(rng.choice(NOUNS["places"]), adjective)
    time, english_time = rng.choice(TIMES[tense]).split("|")
    if tense == "perfect":  # "already" has its place by the verb, in both languages
        middle, time, english_time = join(dative, time, accusative, where[0]), "", ""
    elif rng.random() < 0.4:
        middle, time, english_time = join(dative, accusative, where[0]), "", ""
    else:
        middle = join(dative, "{time}", accusative, where[0])
    english = join(subject.english, english_verb, verb.particle, english_objects, where[1])
    return Clause(subject.german, finite, middle, last, joined, time, english, english_time)


def main_clause(clause: Clause, front: bool) -> tuple[str, str]:
    """Order a main clause: the verb is second, after the subject, or after the time and before the subject."""
    if front and clause.time:
        german = join(clause.time, clause.finite, clause.subject, without_time(clause), clause.last)
        return german, f"{clause.english_time} {clause.english}"
    return join(clause.subject, clause.finite, with_time(clause), clause.last), end_time(clause)


def inverted_clause(clause: Clause) -> str:
    """Order a main clause that follows a subordinate clause: the verb is first."""
    return join(clause.finite, clause.subject, with_time(clause), clause.last)


def subordinate_clause(clause: Clause) -> str:
    """Order a subordinate clause: the verb is last, and a separable prefix joins it again."""
    verb = clause.last + clause.finite if clause.joined else join(clause.last, clause.finite)
    return join(clause.subject, with_time(clause), verb)


def with_time(clause: Clause) -> str:
    return clause.middle.replace("{time}", clause.time)


def without_time(clause: Clause) -> str:
    return join(*clause.middle.replace("{time}", "").split())


def end_time(clause: Clause) -> str:
    return join(clause.english, clause.english_time)


def draw_sentence(rng: random.Random) -> tuple[str, str]:
    """Draw a sentence pair, capitalised and punctuated."""
    forms = ((simple_sentence, 65), (thought_sentence, 15), (reason_sentence, 12), (condition_sentence, 8))
    form = rng.choices([form for form, _ in forms], [weight for _, weight in forms])[0]
    return tuple(f"{line[0].upper()}{line[1:]}." for line in form(rng))


def simple_sentence(rng: random.Random) -> tuple[str, str]:
    """Draw a main clause that begins with the subject or with the time."""
    return main_clause(draw_clause(rng), front=rng.random() < 0.5)


def thought_sentence(rng: random.Random) -> tuple[str, str]:
    """Draw a sentence of the form "someone knows or says that …"."""
    subject = draw_subject(rng, rng.choice(NOUNS["people"]))
    clause = draw_clause(rng)
    plural, first, third, base, english_third = rng.choice(THINKING).split()
    singular = first if subject.person == 1 else third
    thinks = english_third if subject.person == 3 and not subject.plural else base
    german = f"{subject.german} {plural if subject.plural else singular}, dass {subordinate_clause(clause)}"
    return german, f"{subject.english} {thinks} that {end_time(clause)}"


def reason_sentence(rng: random.Random) -> tuple[str, str]:
    """Draw a sentence of the form "… because …", both clauses in the same tense."""
    tenses = (rng.choice(list(TIMES)),)
    german, english = main_clause(draw_clause(rng, tenses), front=False)
    clause = draw_clause(rng, tenses)
    return f"{german}, weil {subordinate_clause(clause)}", f"{english} because {end_time(clause)}"


def condition_sentence(rng: random.Random) -> tuple[str, str]:
    """Draw a sentence of the form "if …, …": the subordinate clause is first, so the main one begins with its verb."""
    clause, then = draw_clause(rng, ("present",)), draw_clause(rng, ("present", "modal", "future"))
    german = f"wenn {subordinate_clause(clause)}, {inverted_clause(then)}"
    return german, f"if {end_time(clause)}, {end_time(then)}"


def generate(
    pairs: int, seed: int, draw: Callable[[random.Random], tuple[str, str]] = draw_sentence
) -> list[tuple[str, str]]:
    """Draw pairs of which no two share a German or an English sentence.

    Raises:
        ValueError: the grammar does not yield that many.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    drawn: list[tuple[str, str]] = []
    misses = 0
    while len(drawn) < pairs:
        pair = draw(rng)
        if seen.intersection(pair):
            misses += 1
            if misses == MAX_MISSES:
                raise ValueError(
                    f"the grammar gave only {len(drawn):,} distinct pairs, wanted {pairs:,}: pass fewer --pairs"
                )
            continue
        misses = 0
        seen.update(pair)
        drawn.append(pair)
    return drawn


def write_corpus(out: Path, sizes: dict[str, int], seed: int) -> None:
    """Write SPLIT.de and SPLIT.en for every split; each file is either complete or missing."""
    drawn = generate(sum(sizes.values()), seed)
    out.mkdir(parents=True, exist_ok=True)
    # The small splits come first, so that they do not depend on the amount of training text.
    start = 0
    for split in ("valid", "test", "train"):
        chosen = drawn[start : start + sizes[split]]
        start += sizes[split]
        for language, lines in zip(("de", "en"), zip(*chosen, strict=True), strict=True):
            path = out / f"{split}.{language}"
            part = path.with_name(f"{path.name}.part")
            part.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
            os.replace(part, path)


def main(argv: list[str] | None = None) -> int:
    """Write the corpus; return the exit status."""
    parser = argparse.ArgumentParser(description="Write a small German-English corpus from a grammar.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--pairs", type=int, default=4000, metavar="N", help="training pairs (default: 4000)")
    parser.add_argument("--valid", type=int, default=200, metavar="N", help="pairs of valid (default: 200)")
    parser.add_argument("--test", type=int, default=200, metavar="N", help="pairs of test (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another corpus (default: 1)")
    arguments = parser.parse_args(argv)
    sizes = {"train": arguments.pairs, "valid": arguments.valid, "test": arguments.test}
    for option, size in zip(("pairs", "valid", "test"), sizes.values(), strict=True):
        if size < 1:
            parser.error(f"--{option} is {size}, wanted at least 1")
    try:
        write_corpus(arguments.out, sizes, arguments.seed)
    except (ValueError, OSError) as error:
        print(f"toy_corpus.py: error: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
    print(f"wrote {counts} pairs to {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
