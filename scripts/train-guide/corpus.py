"""Conversations to train on, made from knowledge.txt and unknown.txt.

Owns: reading the two texts, choosing a topic and a question of it, varying the question's words, case, punctuation and spelling.
Leaves to others: tokens (vocabulary.py), the model (model.py), the training itself (train.py).

Everything is drawn from one `random.Random`, so that a seed gives the same conversations again.
"""

import math
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent

DEFAULT_SYSTEM = "You are the Lockstep guide."

# Clients often send a system prompt of their own; the answers must not depend on it.
OTHER_SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "You are a friendly and concise assistant.",
    "Answer the user's questions.",
    "Be brief.",
    "You are an assistant for developers.",
    "You answer questions about Lockstep.",
    "You are ChatGPT, a large language model.",
    "Please answer in one or two sentences.",
    "",
]

# One row a letter: what `N: x` and its like stand for. Plain questions stand first and often, as people ask them.
FRAMES = {
    "N": """what is {} | what is {} | what's {} | what exactly is {} | what does {} mean | explain {} | explain {} to me | tell me about {}
        | tell me more about {} | {} | describe {} | define {} | what do you mean by {} | can you explain {} | could you explain {} to me
        | i don't understand {} | what is meant by {} | help me understand {} | in simple words, what is {} | what is {} all about
        | i would like to know more about {} | how would you explain {} | give me a short explanation of {} | what about {}
        | what can you tell me about {} | do you know what {} is | what do i need to know about {} | someone told me about {}
        | somebody talked about {}, what is it | i heard about {}, what is that | i read about {}, what is that""",
    "T": """how do i {} | how do i {} | how do i {} | how can i {} | how can i {} | how to {} | how would i {} | how should i {} | how could i {}
        | i want to {} | i would like to {} | i'd like to {} | i need to {} | can i {} | could i {} | may i {} | is it possible to {}
        | is there a way to {} | what do i do to {} | what must i do to {} | what do i need to do to {} | what is the way to {} | what is the best way to {}
        | show me how to {} | tell me how to {} | can you tell me how to {} | explain how to {} | {} | what is the command to {} | which command do i need to {}
        | steps to {} | i am trying to {} | i am not sure how to {} | i have no idea how to {} | how does one {} | how do you {} | how do we {}
        | where can i {} | what should i type to {} | what should i do if i want to {} | we want to {}, how | let me {} | is there an option to {}
        | which option lets me {} | i do not know how to {} | my boss wants me to {} | what does it take to {} | do you know how to {}""",
    "Y": """does it {} | does lockstep {} | can it {} | can lockstep {} | can you {} | will it {} | could it {} | does the server {} | can the server {}
        | is it able to {} | is lockstep able to {} | is the server able to {} | is it possible for it to {} | does this {} | can this {} | does this server {}
        | can this server {} | i want it to {} | i wonder whether it can {} | do you know whether it can {} | would it {} | does this software {}
        | is there a way to make it {} | i need it to {}""",
}
FRAMES = {letter: [re.sub(r"\s+", " ", f).strip() for f in text.split("|")] for letter, text in FRAMES.items()}

# Words that people use for each other, tried on any question. Keys may be several words.
SYNONYMS = {
    "server": ["service", "program", "thing"], "lockstep": ["it", "this server", "this program", "this", "lockstep", "lockstep"],
    "model": ["llm", "language model", "network"], "models": ["llms", "language models", "networks"],
    "change": ["set", "modify", "adjust", "alter", "switch"], "choose": ["pick", "select", "set"], "set": ["choose", "configure", "define", "specify"],
    "start": ["run", "launch", "boot", "bring up", "get going"], "stop": ["shut down", "quit", "end", "kill", "take down"],
    "load": ["open", "use", "run", "serve"], "serve": ["run", "host", "load", "offer"], "use": ["work with", "try", "employ", "make use of"],
    "supported": ["possible", "accepted", "understood", "available"], "support": ["handle", "accept", "offer", "know", "understand"],
    "machine": ["computer", "box", "laptop", "pc", "system"], "gpu": ["graphics card", "video card", "cuda card", "gpu", "accelerator"],
    "gpus": ["graphics cards", "cuda cards", "accelerators"], "fast": ["quick", "speedy", "rapid"], "see": ["view", "look at", "find", "check", "read"],
    "need": ["require", "must have", "have to have"], "show": ["give", "display", "print"], "show me": ["give me", "let me see", "write me"],
    "request": ["call", "query", "request"], "requests": ["calls", "queries", "requests"], "answer": ["reply", "response", "output", "result"],
    "answers": ["replies", "responses", "outputs", "results"], "get": ["receive", "obtain", "have"], "command": ["instruction", "command line"],
    "option": ["flag", "switch", "parameter", "setting"], "options": ["flags", "switches", "parameters", "settings"], "flag": ["option", "switch"],
    "file": ["document", "file"], "folder": ["directory", "path", "dir"], "example": ["sample", "snippet", "demo"], "code": ["program", "script", "snippet"],
    "large": ["big", "huge"], "largest": ["biggest", "highest", "maximum"], "small": ["tiny", "little"], "processor": ["cpu", "chip"],
    "processors": ["cpus", "chips"], "cpu": ["processor"], "cpus": ["processors"], "memory": ["ram"], "many": ["lots of", "a lot of", "plenty of"],
    "several": ["multiple", "a few", "many", "some"], "two": ["2", "both"], "four": ["4"], "which": ["what", "what kind of"], "what": ["which"],
    "download": ["fetch", "pull", "get"], "explain": ["describe", "clarify", "tell me"], "split": ["cut", "divide", "spread", "distribute", "shard"],
    "across": ["over", "on", "among"], "over": ["across", "on"], "measure": ["benchmark", "test", "find out"], "speed": ["performance", "throughput"],
    "error": ["problem", "message", "failure"], "says": ["tells me", "answers", "reports", "shows"], "works": ["functions", "goes", "runs"],
    "allowed": ["permitted", "ok", "fine"], "limit": ["restrict", "bound", "cap"], "install": ["set up", "have", "get"], "needed": ["required", "necessary"],
    "endpoints": ["routes", "urls", "paths"], "routes": ["endpoints", "urls", "paths"], "i": ["we", "one", "you"], "my": ["our", "my own", "the"],
    "users": ["people", "clients", "customers"], "people": ["users", "persons", "folks"], "requirements": ["needs", "prerequisites"],
    "weights": ["parameters", "model files"], "same": ["identical", "equal", "very same"], "always": ["every time", "each time", "constantly"],
    "difference": ["distinction", "contrast"], "text": ["words", "writing"], "write": ["make", "create"], "send": ["post", "submit", "make"],
    "long": ["large", "lengthy"], "terminal": ["console", "shell", "command line"], "find": ["see", "get", "look up"], "is there": ["do you have", "does it have", "exists there"],
    "are there": ["do exist", "do you have", "does it have"], "do i": ["do we", "does one", "should i", "must i"], "can i": ["may i", "could i", "can we", "could we"],
    "at the same time": ["at once", "in parallel", "simultaneously", "together"], "means": ["stands for"], "talk": ["speak", "chat"], "hugging face": ["huggingface", "hf", "the hub"],
}

PREFIXES = ["hi, ", "hello, ", "hey, ", "ok, ", "so, ", "and ", "please, ", "quick question: ", "sorry, ", "excuse me, ", "i am new here, ", "one more question: ",
    "well, ", "now, ", "hi! ", "hello! ", "question: ", "tell me, ", "i am a beginner, ", "next question: ", "i wonder, ", "thanks. ", "great. ", "ok thanks. ",
    "dear guide, ", "i was wondering, ", "also, ", "another thing: ", "by the way, ", "a colleague asks: ", "just curious, ", "but ", "then "]
SUFFIXES = [" please", ", please", " in lockstep", " with lockstep", " here", " then", " now", " exactly", " in this project", " with this server", " for me", " again",
    ", do you know", " in short", ", can you help me", " at all", " on my machine", " these days", " in practice", " in general", ", in simple words"]

# Whole sentences around a question that say nothing about which topic it is.
LEADS = ["I just installed it.", "I am on Ubuntu.", "We are a small team.", "I read the README.", "My boss asked me.", "This is my first day here.", "The server is running.",
    "I have only a small machine.", "I looked everywhere.", "It is not clear to me.", "Maybe a stupid question.", "I searched the page.", "I have a laptop.", "I am a student.",
    "We do this at work.", "I work on a project.", "There is one thing I wonder about.", "I have two questions.", "I am new to all this.", "Sorry to bother you.",
    "A friend told me about it.", "I tried a few things.", "We are two people.", "I have everything installed.", "I am stuck.", "My application is nearly ready."]
TAILS = ["How is that done?", "Is that possible?", "What is the command?", "Where do I find that?", "How does it work?", "Can you explain?", "What would I do?", "I could not find it.",
    "I am not sure.", "Which way is best?", "Any idea?", "What must I write?", "Tell me.", "Please answer.", "How?", "Thanks.", "What should I do?", "How does one do that?", "I wonder.",
    "Do you know?", "What do you say?", "And why?", "Is there a way?", "What do I enter?", "Can it be done?", "I have no idea."]

CASED = {"i": "I", "i'd": "I'd", "lockstep": "Lockstep", "api": "API", "openai": "OpenAI", "gguf": "GGUF", "kv": "KV", "gpu": "GPU", "gpus": "GPUs", "cpu": "CPU", "cpus": "CPUs",
    "http": "HTTP", "json": "JSON", "yaml": "YAML", "python": "Python", "node": "Node", "node.js": "Node.js", "javascript": "JavaScript", "typescript": "TypeScript",
    "hugging": "Hugging", "face": "Face", "huggingface": "HuggingFace", "llama": "Llama", "qwen": "Qwen", "qwen3": "Qwen3", "gemma": "Gemma", "mistral": "Mistral", "mixtral": "Mixtral",
    "phi": "Phi", "vllm": "vLLM", "cuda": "CUDA", "nvidia": "NVIDIA", "avx2": "AVX2", "avx-512": "AVX-512", "cmake": "CMake", "c++": "C++", "prometheus": "Prometheus",
    "grafana": "Grafana", "kubernetes": "Kubernetes", "sse": "SSE", "llm": "LLM", "llms": "LLMs", "ram": "RAM", "apache": "Apache", "hf_token": "HF_TOKEN", "hf_home": "HF_HOME",
    "linux": "Linux", "ubuntu": "Ubuntu", "docker": "Docker", "rtx": "RTX", "opt": "OPT", "nccl": "NCCL", "tp": "TP", "url": "URL", "urls": "URLs", "readme": "README",
    "ollama": "Ollama", "arm": "ARM", "intel": "Intel", "amd": "AMD", "q4_0": "Q4_0", "q8_0": "Q8_0", "q4_1": "Q4_1", "sigterm": "SIGTERM", "chatgpt": "ChatGPT",
    "paris": "Paris", "london": "London", "france": "France", "germany": "Germany", "rome": "Rome", "french": "French", "german": "German", "spanish": "Spanish"}


@dataclass
class Topic:
    name: str
    answer: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)  # (letter, pattern)
    held_out: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def read_topics() -> list[Topic]:
    """The topics of knowledge.txt in their order; `unknown` also has every line of unknown.txt."""
    topics: list[Topic] = []
    for number, line in enumerate((HERE / "knowledge.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("= "):
            topics.append(Topic(line[2:].strip()))
            continue
        letter, _, rest = line.partition(": ")
        if letter == "A":
            topics[-1].answer = rest.strip()
        elif letter == "V":
            topics[-1].held_out.append(rest.strip())
        elif letter == "Q" or letter in FRAMES:
            topics[-1].lines.append((letter, rest.strip()))
        else:
            raise SystemExit(f"knowledge.txt:{number}: a line starts with =, A, Q, N, T, Y or V, not {line[:20]!r}")
    unknown = next(t for t in topics if t.name == "unknown")
    for line in (HERE / "unknown.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            unknown.lines.append(("Q", line.strip()))
    for topic in topics:
        # A line with many expansions is drawn more often, but only by the logarithm: each line is a way to ask.
        topic.weights = [1.0 + math.log(count(p) * len(FRAMES.get(letter, [0]))) for letter, p in topic.lines]
    return topics


ALTERNATIVES = re.compile(r"[\[{]([^\[\]{}]*)[\]}]")


def count(pattern: str) -> int:
    """How many questions a pattern stands for."""
    return math.prod(m.group(1).count("|") + 1 for m in ALTERNATIVES.finditer(pattern))


def expand(pattern: str, rng: random.Random) -> str:
    """One of the questions that a pattern stands for."""
    return tidy(ALTERNATIVES.sub(lambda m: rng.choice(m.group(1).split("|")), pattern))


def expand_all(pattern: str) -> list[str]:
    """Every question that a pattern stands for."""
    match = ALTERNATIVES.search(pattern)
    if not match:
        return [tidy(pattern)]
    return [q for choice in match.group(1).split("|") for q in expand_all(pattern[: match.start()] + choice + pattern[match.end() :])]


def tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace(" ,", ",").strip()


def plain_question(topic: Topic, rng: random.Random) -> str:
    """A question of the topic as it is written, in lower case and without a question mark."""
    letter, pattern = rng.choices(topic.lines, topic.weights)[0]
    question = expand(pattern, rng)
    return rng.choice(FRAMES[letter]).format(question) if letter in FRAMES else question


def all_plain_questions(topic: Topic) -> set[str]:
    """Every question of the topic before it is varied; what the test's questions are compared with."""
    out: set[str] = set()
    for letter, pattern in topic.lines:
        for q in expand_all(pattern):
            out.update(frame.format(q) for frame in FRAMES.get(letter, ["{}"]))
    return out


SYNONYM_PATTERN = re.compile(r"(?<![\w./-])(" + "|".join(sorted(map(re.escape, SYNONYMS), key=len, reverse=True)) + r")(?<!lockstep(?= serve| chat| bench| doctor))(?![\w/-]|\.\w)")


def reword(question: str, rng: random.Random, rate: float) -> str:
    """Some words exchanged for others; the names of commands stay."""
    return SYNONYM_PATTERN.sub(lambda m: rng.choice(SYNONYMS[m.group(1)]) if rng.random() < rate else m.group(1), question)


def misspell(text: str, rng: random.Random) -> str:
    """One slip of the finger: a letter swapped, dropped, doubled or replaced by another."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    kind = rng.randrange(4)
    middle = [text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1], rng.choice("abcdefghijklmnopqrstuvwxyz") + text[i + 1]][kind]
    return text[:i] + middle + text[i + 2 :]


# Words that say nothing about a topic. Strewn into questions, so that a word the model has not met does not turn the answer.
NEUTRAL = """about above actually add after again ago ahead all almost alone along already also although always among another any anybody anyone anyway apart
appear apparently around aside ask away back basically because become been before begin behind being below beside best between beyond bit both bring brief briefly
broad bunch busy call called came careful case certain certainly chance clear clearly close coming common complete completely concern consider correct correctly
could couple course current currently curious daily day deal decide deep despite different direct directly doing done double down due each earlier early easily
easy either else end enough entire especially etc even evening ever every everybody everything exact exactly except expect extra face fact fairly far few final
finally fine first five follow for former forth forward free frequent from front full further future general generally given giving glad goes going gone good got
great guess half hand handy happen happens hard hardly having hear heard held help her here herself hey high him his hold hope hour however huge idea if
imagine important indeed inside instead interested into itself job just keen keep kept kind kindly know known last late lately later least leave left less let
letting like likely little look looking lot low lucky mainly making manage matter maybe mean meanwhile meant might mind minute moment month more morning most
mostly much myself namely near nearly never new next nice night nobody none normal normally not note nothing notice now obvious obviously occasion odd off often
old once one only onto open order ordinary other otherwise ought ours out outside overall own part particular particularly partly past per perfect perhaps person
pick piece place plain plan point possibly prefer present pretty previous prior probably proper properly put quick quickly quite rarely rather reach real
really reason recent recently regard regular remember rest right rough roughly round said sake saw say saying seem seems seen sense separate set several shall
she short shortly side simple simply since single sit six slight slightly slow slowly so some somebody somehow someone something sometimes somewhat somewhere
soon sort specific still straight strange such suddenly suppose supposed sure surely take taken taking talk ten tend than that their them themselves then there
therefore these they thing things think third those though thought three through throughout thus till times tiny together told tomorrow too took toward
towards tried true truly try trying turn twice type typical typically under understand unless until up upon us useful usual usually various very via want
was way week well went were whatever whenever whereas wherever whether while whole whom whose wide willing wish within without wonder wondering word work worked
working worry worth wrong year yes yesterday yet your yours""".split()

def thin(question: str, rng: random.Random) -> str:
    """Words left out, strewn in, and sometimes moved: every word of a question has to count, not one phrase."""
    rate = rng.choices([0.0, 0.15, 0.35], [5, 3, 2])[0]
    words = question.split()
    kept = [w for w in words if rng.random() >= rate] or words
    if rng.random() < 0.3:
        for _ in range(rng.randint(1, 3)):
            kept.insert(rng.randint(0, len(kept)), rng.choice(NEUTRAL))
    if rng.random() < 0.08:
        rng.shuffle(kept)
    return " ".join(kept)


def vary(question: str, rng: random.Random, chatty: bool) -> str:
    """The question as somebody may type it: other words, an opening, case, punctuation, slips. `chatty`: greetings and the like stay short."""
    if not chatty:
        question = reword(question, rng, rng.choice([0.0, 0.15, 0.4]))
        if rng.random() < 0.15:
            question = rng.choice(PREFIXES) + question
        if rng.random() < 0.12:
            question += rng.choice(SUFFIXES)
    if not chatty:
        question = thin(question, rng)
    style = rng.random()
    if style < 0.8:
        if rng.random() < 0.85:
            question = " ".join(CASED.get(w, CASED.get(w.rstrip(","), w.rstrip(",")) + ("," if w.endswith(",") else "")) for w in question.split(" "))
        question = question[:1].upper() + question[1:]
    elif style > 0.99:
        question = question.upper()
    if rng.random() < 0.12:
        question = misspell(question, rng)
        if rng.random() < 0.3:
            question = misspell(question, rng)
    asks = re.match(r"(?i)(hi, |hello, |hey, |ok, |so, |and |)(what|which|how|who|why|when|where|is|are|can|could|does|do|will|may|must|would|should|in what|on what)\b", question)
    end = rng.random()
    if asks:
        question += "?" if end < 0.75 else "" if end < 0.95 else " ?" if end < 0.97 else "??"
    else:
        question += "." if end < 0.35 else "?" if end < 0.5 else "!" if end < 0.55 else ""
    if not chatty and rng.random() < 0.1:
        question = rng.choice(LEADS) + " " + question
    if not chatty and rng.random() < 0.1:
        question += ("" if question[-1] in ".?!" else ".") + " " + rng.choice(TAILS)
    return question


def key_words(topics: list[Topic], rng: random.Random, drawn: int = 400) -> dict[str, tuple[str, float]]:
    """word -> (the topic it speaks for most, its share of the word's uses, topics counted equally)."""
    uses: dict[str, dict[str, int]] = {}
    for topic in topics:
        for _ in range(drawn):
            for word in set(plain_question(topic, rng).split()):
                counts = uses.setdefault(word.strip(",.?"), {})
                counts[topic.name] = counts.get(topic.name, 0) + 1
    return {word: max(((name, n / sum(counts.values())) for name, n in counts.items()), key=lambda entry: entry[1]) for word, counts in uses.items()}


CHATTY = {"hello", "thanks", "bye"}
# What a newcomer asks most, and what must be told from everything else, is drawn more often.
GRAFTED = 0.15  # of the questions
TOPIC_WEIGHTS = {"unknown": 7.0, "hello": 0.7, "thanks": 0.7, "bye": 0.6}


class Corpus:
    """Draws conversations without end. Each is (system or None for the default, [(question, answer, topic), …])."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.topics = read_topics()
        self.topic_weights = [TOPIC_WEIGHTS.get(t.name, 1.0) for t in self.topics]
        self.keys = key_words(self.topics, self.rng)

    def turn(self) -> tuple[str, str, int]:
        """Question, answer, index of the topic."""
        rng = self.rng
        index = rng.choices(range(len(self.topics)), self.topic_weights)[0]
        topic = self.topics[index]
        question = plain_question(topic, rng)
        if topic.name not in CHATTY and rng.random() < GRAFTED:
            question = self.graft(topic, question)
        return vary(question, rng, topic.name in CHATTY), topic.answer, index

    def graft(self, topic: Topic, question: str) -> str:
        """The telling words of a question in the neutral words of another: what is asked about must decide, not how. Unchanged where it has none."""
        rng = self.rng
        unknown = ("", 0.0)
        mine = [w for w in question.split() if self.keys.get(w.strip(",.?"), unknown)[0] == topic.name and self.keys[w.strip(",.?")][1] > 0.4]
        if not mine:
            return question
        other = plain_question(rng.choice(self.topics), rng).split()
        neutral = [w for w in other if self.keys.get(w.strip(",.?"), unknown)[1] < 0.25]
        at = rng.randint(0, len(neutral))
        return " ".join([*neutral[:at], *mine, *neutral[at:]])

    def conversation(self) -> tuple[str | None, list[tuple[str, str, int]]]:
        system = self.rng.choice(OTHER_SYSTEMS) if self.rng.random() < 0.15 else None
        turns = self.rng.choices([1, 2, 3, 4, 6], [88, 7, 3, 1, 1])[0]
        return system, [self.turn() for _ in range(turns)]

    def held_out(self) -> list[tuple[str, str, str]]:
        """(topic, question, answer) of every V line, with a capital and a question mark."""
        return [(t.name, q[:1].upper() + q[1:] + "?", t.answer) for t in self.topics for q in t.held_out]
