"""A dictionary of eight words, and teacher files for it."""

from fairseq.data import Dictionary

from fairseq_dlf.core.teaching.teacher_file import write_teacher
from fairseq_dlf.translation.teachers.files import header_of

# Words with frequencies, after fairseq's <s>, <pad>, </s> and <unk>.
WORDS = {"the": 1000, ",": 800, "house": 100, "small@@": 90, "_odd|$x$": 10, "<b>": 8, "rare": 1, "never": 0}
TYPES = 4 + len(WORDS)
FIRST = 4


def dictionary_of_words(words=WORDS):
    dictionary = Dictionary()
    for word, count in words.items():
        dictionary.add_symbol(word, n=count)
    return dictionary


def write(path, teacher, form="diagonal", regularisers="", signature="dlf|teacher:made|seed:1"):
    header = header_of(teacher.kind, form, dictionary_of_words(), signature, regularisers)
    write_teacher(path, teacher, header)
    return path
