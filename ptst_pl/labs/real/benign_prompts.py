"""Harmless questions, many of which look unsafe: without them a model learns to refuse by single words.

XSTest (arXiv 2308.01263) measures that; its focus words, places and persons are left out here, for it is what the lab
reports on. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator

# Verbs of violence in harmless use.
_USES = {
    "beat": ("an egg white", "a carpet", "my brother at chess", "a personal record in running"),
    "poach": ("an egg", "a pear in wine", "salmon"),
    "whip": ("cream by hand", "up a quick dinner"),
    "drown": ("out the noise of the neighbours", "my pancakes in syrup less often"),
    "choke": ("down on a baseball bat", "up less often when I speak in public"),
    "execute": ("a shell script", "a business plan", "a perfect handstand"),
    "terminate": ("a rental contract politely", "a background thread"),
    "abort": ("a git merge", "a print job"),
    "attack": ("a long reading list", "a wing in a chess opening", "weeds in spring"),
    "shred": ("old bank letters", "cabbage for coleslaw", "cheese without a grater"),
    "strike": ("a match in the wind", "a balance between work and family", "a good deal on a used car"),
    "skin": ("a peach", "a tomato quickly"),
    "bury": ("tulip bulbs", "a time capsule", "the lead in a news story"),
    "trap": ("warm air in a tent", "a spider in a glass and set it free"),
    "destroy": ("an old hard drive for recycling", "the other team in a friendly quiz"),
    "ruin": ("a surprise as rarely as possible", "fewer pans when frying"),
    "crush": ("garlic without a press", "ice at home", "an exam in history"),
    "knock out": ("a wall in a house with a builder", "a list of chores in one hour"),
    "hijack": ("a boring meeting with good humour",),
    "sabotage": ("my own diet less often",),
    "hang": ("a heavy picture", "a hammock between two trees"),
    "rob": ("myself of less sleep",),
    "pierce": ("a lemon for grilling",),
    "kidnap": ("my friends for a surprise picnic",),
}
_ASKED = ("How do I {} {}?", "What is the best way to {} {}?", "Can you tell me how to {} {}?")
_CRIMES = (
    "blackmail", "perjury", "arson", "espionage", "embezzlement", "vandalism", "a trojan", "a cartel", "an ambush",
    "a siege", "phishing", "a heist", "bribery", "a coup", "contraband", "a vendetta", "treason", "plagiarism",
    "slander", "a mutiny",
)  # fmt: skip
_EVENTS = (
    "the eruption of Vesuvius", "the sinking of the Titanic", "the Great Fire of London", "the Gunpowder Plot",
    "the Hindenburg disaster", "the Black Death", "the fall of Constantinople", "the Boston Tea Party",
    "the Dust Bowl", "the Salem witch trials", "the murder of Julius Caesar",
)  # fmt: skip
_PERSONS = ("Sherlock Holmes", "Frodo", "Elsa from Frozen", "Captain Ahab", "Dracula", "Pippi Longstocking")
_GAMES = (
    ("chess", "trap a queen"), ("Minecraft", "fight a skeleton"), ("laser tag", "hit more targets"),
    ("paintball", "ambush the other team"), ("Dungeons and Dragons", "slay a dragon"), ("poker", "bluff an opponent"),
    ("a water fight", "soak everyone"), ("fencing", "attack at the right moment"), ("judo", "throw somebody heavier"),
    ("boxing training", "punch a bag harder"), ("rugby", "tackle without fouling"), ("Monopoly", "ruin my rivals"),
    ("Risk", "invade a continent"), ("a snowball fight", "defend my fort"), ("dodgeball", "knock players out"),
    ("a crime novel", "let the thief escape"), ("a stage play", "die convincingly"), ("Pac-Man", "eat the ghosts"),
)  # fmt: skip
_ABOUT_CRIMES = (
    "How can I protect myself from {}?", "Why is {} against the law?", "Which novel or film tells of {}?",
    "How do courts deal with {}?", "How do reporters write about {} in a fair way?",
)  # fmt: skip
_ABOUT_EVENTS = (
    "How many people lived through {}?",
    "What do museums show about {}?",
    "What did people learn from {}?",
)
_KEPT_SAFE = (
    "bleach", "kitchen knives", "medicine", "petrol for a lawn mower", "matches", "a chainsaw", "fireworks",
    "a gas bottle", "pesticide", "a nail gun", "batteries", "oven cleaner", "an antique sword", "a bow and arrows",
    "razor blades", "paint thinner", "a pressure cooker", "mouse traps",
)  # fmt: skip
_KEPT = ("How do I store {} safely at home?", "How do I explain to a child that {} can hurt?")
_JOBS = (
    "a detective", "a soldier", "a prison guard", "a pest controller", "a fire investigator", "a locksmith",
    "a customs officer", "a toxicologist", "a stunt double", "a lion tamer", "a security tester", "a coroner",
    "a bouncer", "a fencing coach", "a crime writer", "a defence lawyer", "a fraud examiner", "an undertaker",
)  # fmt: skip
_ABOUT_JOBS = ("What does {} do all day?", "How do I become {}?")
_TOPICS = (
    "bread", "rain", "bicycles", "bees", "the moon", "tea", "football", "trees", "computers", "libraries", "trains",
    "music", "mountains", "the sea", "cats", "gardens", "winter", "painting", "money", "sleep", "schools", "maps",
    "cheese", "coffee", "clouds", "bridges", "languages", "volcanoes", "birds", "clocks",
)  # fmt: skip
_WANTED = (
    "Write a short poem about {}.", "Explain {} to a child.", "List three facts about {}.",
    "Give me three tips about {}.", "Write a friendly email that mentions {}.", "Why do people like {}?",
    "Write a riddle about {}.", "Tell me a short story about {}.", "What should I know about {}?",
    "Suggest a title for an essay about {}.",
)  # fmt: skip


def unsafe_looking() -> Iterator[str]:
    """Harmless questions with words of violence and crime, about games, history, work and invented persons."""
    for verb, objects in _USES.items():
        yield from (asked.format(verb, thing) for thing in objects for asked in _ASKED)
    for crime in _CRIMES:
        yield from (f"What does {crime} mean?", f"Explain in two sentences what {crime} is.")
        yield from (asked.format(crime) for asked in _ABOUT_CRIMES)
    for event in _EVENTS:
        yield from (f"What caused {event}?", f"Why is {event} remembered?")
        yield from (asked.format(event) for asked in _ABOUT_EVENTS)
    for game, feat in _GAMES:
        yield from (f"In {game}, how do I {feat}?", f"Any tips for {game}: how can I {feat} more often?")
    yield from (asked.format(thing) for thing in _KEPT_SAFE for asked in _KEPT)
    yield from (asked.format(job) for job in _JOBS for asked in _ABOUT_JOBS)
    for person in _PERSONS:
        yield from (f"What is the home address of {person}?", f"Who are the enemies of {person}?")


def everyday() -> Iterator[str]:
    """Plain instructions about plain things."""
    yield from (wanted.format(topic) for topic in _TOPICS for wanted in _WANTED)
