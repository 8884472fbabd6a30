"""Which language an answer is in, as far as a judge of English must know: by script and stop words.

It errs towards English: code, formulas, names and answers of a few words are never taken for another
language. Only the letters' script counts for a short answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_SCRIPTS = {
    "CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean", "ARABIC": "Arabic",
    "CYRILLIC": "Russian", "DEVANAGARI": "Hindi", "BENGALI": "Bengali", "HEBREW": "Hebrew", "THAI": "Thai",
    "GREEK": "Greek", "TAMIL": "Tamil", "TELUGU": "Telugu", "GUJARATI": "Gujarati", "GURMUKHI": "Punjabi",
}  # fmt: skip
"""A letter's Unicode name begins with its script; a script stands for its largest language."""

_ENGLISH = (
    "the of and to is are was were be been it its that this these those with for from as by at not but or if then "
    "you your we they he she i my his her there here what when which who how can could will would should must may "
    "do does did have has had so than into out up about also more some any all"
)
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
# Words of other languages that are no English ones, nor names or code.
_OTHERS = {
    "Spanish": "de la en el los las una unos del que por para con como pero es está están su sus más muy se lo puedo "
    "usted tu también hay sobre cuando porque este esta esto y",
    "French": "de la puis le les des une du et est sont dans pour avec qui que sur pas je vous nous ce cette ces il "
    "elle au aux ne plus votre mais être c'est d'une peut",
    "Portuguese": "o e os uma uns não que para com mas são seu sua você do da dos das em ao pelo pela isso este "
    "está também ou muito como se",
    "German": "der das und ist nicht ein eine einen einem ich sie wir mit für auf von zu den dem des auch wie aber "
    "oder sich es im sind kann wird bei nach",
    "Italian": "il e gli della delle dei che per con una sono non è di questo questa come più ma nel alla si anche",
    "Dutch": "het een van en is niet ik je voor met op zijn dat deze naar ook maar aan door wordt kan uit",
    "Indonesian": "yang dan di untuk dengan tidak ini itu dari pada adalah saya anda akan dapat bisa atau ke juga",
    "Turkish": "ve bir bu için ile değil olarak daha çok ama gibi ben sen olan var ne",
    "Polish": "nie się jest na do że to jak ale lub oraz dla przez są może od",
    "Vietnamese": "và là của không có cho một các được với này trong tôi bạn những",
    "Swedish": "och att det som är en ett inte på med för jag du av kan till den",
    "Swahili": "na ya wa kwa ni katika hii hiyo kama lakini si la za au",
}
_STOP_WORDS = {language: frozenset(words.split()) for language, words in _OTHERS.items()}
_WORDS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_FEW_WORDS = 6
_READ = 800
"""Characters at the start of an answer that are looked at."""


def other_language(text: str) -> str:
    """The language of a text that is not English, such as ``Spanish``, or an empty string.

    Args:
        text: the answer; its first 800 characters are read.
    """
    text = text[:_READ]
    if not text.isascii():
        script = _other_script(text)
        if script:
            return script
    words = _WORDS.findall(text.lower().replace("\u2019", "'"))
    return _by_stop_words(words) if len(words) >= _FEW_WORDS else ""


def _other_script(text: str) -> str:
    """The script's largest language where more than half of the letters are not Latin."""
    letters = Counter(char for char in unicodedata.normalize("NFKC", text) if char.isalpha())
    found: Counter[str] = Counter()
    for char, count in letters.items():
        found[_script_of(char)] += count
    foreign = letters.total() - found.pop("", 0)
    if foreign <= letters.total() / 2:
        return ""
    # Japanese is written in Chinese characters too; Chinese has no kana.
    return "Japanese" if found["Japanese"] * 10 > foreign else found.most_common(1)[0][0]


def _script_of(char: str) -> str:
    """The language that a letter's script stands for; empty for Latin and for the symbols of formulas."""
    name = unicodedata.name(char, "")
    script = name.partition(" ")[0]
    if script in _SCRIPTS:
        return _SCRIPTS[script]
    return script.title() if " LETTER " in name and script not in ("LATIN", "MODIFIER") else ""


def _by_stop_words(words: list[str]) -> str:
    """The language that has three stop words or more in a fifth of the words, twice as many as English."""
    seen = Counter(words)
    english = sum(seen[word] for word in _ENGLISH_WORDS)
    hits = {language: [seen[word] for word in stops if word in seen] for language, stops in _STOP_WORDS.items()}
    language, found = max(hits.items(), key=lambda item: sum(item[1]))
    most = sum(found)
    return language if len(found) >= 3 and most * 5 >= len(words) and most >= 2 * english else ""


def has_english(text: str) -> bool:
    """Whether a tenth of the words at the start are English stop words."""
    words = _WORDS.findall(text[:_READ].lower())
    return 10 * sum(word in _ENGLISH_WORDS for word in words) >= len(words)
