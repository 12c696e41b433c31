"""The guide's tokenizer and chat template: byte-level BPE trained on the corpus, ChatML.

Owns: token ids of a text and of a conversation. The template text is what the server renders; `encode_conversation` must agree with it, and check.py compares.
"""

import random
from collections import Counter

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import DEFAULT_SYSTEM, Corpus

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# A prime, so that no tensor-parallel size divides the vocabulary: the bundled model exercises the uneven cut in every first run.
VOCAB = 4093

CHAT_TEMPLATE = (
    "{%- if messages and messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\\n" + DEFAULT_SYSTEM + "<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def train_tokenizer(seed: int, conversations: int = 20000) -> Tokenizer:
    """A word counts by the root of how often it is asked: the words of questions shall be whole tokens, each a thing to learn about. (With plain counts the
    answers, always the same, take the merges, and a word that tells a topic falls into letters: " pass" "w" "or" "d".)"""
    corpus = Corpus(seed)
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    uses: Counter[str] = Counter()
    for _ in range(conversations):
        for question, _, _ in corpus.conversation()[1]:
            uses.update(piece for piece, _ in split.pre_tokenize_str(question))
    for topic in corpus.topics:
        uses.update({piece: 30 for piece, _ in split.pre_tokenize_str(topic.answer)})
    # The corpus is ASCII, so that of the byte alphabet only the space has another sign.
    words = [piece.replace("Ġ", " ") for piece, n in sorted(uses.items()) if n > 2 for _ in range(round(n**0.5))]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=VOCAB, special_tokens=[END, START, STOP], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


class Chat:
    """Conversations as ids. With `dropout` a question's words fall into other pieces now and then, so that a misspelt word is nothing new."""

    def __init__(self, tokenizer: Tokenizer, dropout: float = 0.0):
        self.plain = tokenizer
        self.broken = Tokenizer.from_str(tokenizer.to_str())
        self.broken.model.dropout = dropout or None
        self.start, self.stop = tokenizer.token_to_id(START), tokenizer.token_to_id(STOP)
        self.newline = tokenizer.encode("\n").ids
        self.roles = {role: [self.start, *tokenizer.encode(role + "\n").ids] for role in ("system", "user", "assistant")}

    def message(self, role: str, ids: list[int]) -> list[int]:
        return [*self.roles[role], *ids, self.stop, *self.newline]

    def text(self, text: str, rng: random.Random | None = None) -> list[int]:
        broken = rng is not None and self.broken.model.dropout and rng.random() < 0.3
        return (self.broken if broken else self.plain).encode(text).ids

    def prompt(self, turns: list[tuple[str, str]], question: str, system: str | None = None) -> list[int]:
        """Ids up to where the answer to `question` begins; `turns` are earlier exchanges."""
        ids = self.message("system", self.text(DEFAULT_SYSTEM if system is None else system))
        for asked, answered in turns:
            ids += self.message("user", self.text(asked)) + self.message("assistant", self.text(answered))
        return ids + self.message("user", self.text(question)) + self.roles["assistant"]
