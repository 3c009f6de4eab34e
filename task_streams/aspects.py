"""What reviewers say of a product's parts, good or bad: fourteen products, a domain-incremental stream of pairs.

| task          | rows | task         | rows | task           | rows | task       | rows |
|---------------|------|--------------|------|----------------|------|------------|------|
| apex-ad2600   | 429  | nokia-6610   | 337  | hitachi-router | 265  | nokia-6600 | 456  |
| canon-g3      | 286  | canon-sd500  | 148  | ipod           | 192  | norton     | 241  |
| nomad-jukebox | 845  | canon-s100   | 217  | linksys-router | 221  |            |      |
| nikon-4300    | 203  | diaper-champ | 239  | micro-mp3      | 603  |            |      |

Hu and Liu 2004 (five products), Ding, Liu and Yu 2008 (nine): customer reviews of Amazon, CC BY 4.0 as the index of
nltk_data has it; product_reviews_1.zip and product_reviews_2.zip of github.com/nltk/nltk_data at 5db857e6. These are 14
of the 19 domains of the ASC stream of PyContinual, which also has laptops and restaurants (SemEval 2014), for them a
third label, neutral, and splits of its own: scores are not comparable.

A row is (aspect, sentence), its label the sign of the mark: ``size[-2]##it is too big`` is negative, however strong.
Every task has the labels negative and positive; 61 to 85 % of the rows are positive (Apex 45 %, Norton 30 %). A
sentence with several marks is several rows, all in one split: test and valid are whole sentences, a fifth of all and a
tenth of the others. Sentences without a mark and titles are left out, and so are three marks that cannot be read, and
pairs with both signs. Aspects that the sentence does not name ([u], [p]) stay. The counts are of rows that are left.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from continual.errors import ContinualError
from continual.stream.base import Example, Task
from continual.stream.clean import Text, clean
from continual.stream.mirror import read
from continual.stream.order import arrange
from continual.stream.sample import sized, split

LABELS = ("negative", "positive")
MARK = re.compile(r"([^,\[\]{}]+)(?:\[\w+\])*[\[{] *([+-])")
"""``aspect[+2]``; some brackets are braces, and some hold no number."""

PRODUCTS = {
    "apex-ad2600": "product_reviews_1/Apex_AD2600_Progressive_scan_DVD player",
    "canon-g3": "product_reviews_1/Canon_G3",
    "nomad-jukebox": "product_reviews_1/Creative_Labs_Nomad_Jukebox_Zen_Xtra_40GB",
    "nikon-4300": "product_reviews_1/Nikon_coolpix_4300",
    "nokia-6610": "product_reviews_1/Nokia_6610",
    "canon-sd500": "product_reviews_2/Canon_PowerShot_SD500",
    "canon-s100": "product_reviews_2/Canon_S100",
    "diaper-champ": "product_reviews_2/Diaper_Champ",
    "hitachi-router": "product_reviews_2/Hitachi_router",
    "ipod": "product_reviews_2/ipod",
    "linksys-router": "product_reviews_2/Linksys_Router",
    "micro-mp3": "product_reviews_2/MicroMP3",
    "nokia-6600": "product_reviews_2/Nokia_6600",
    "norton": "product_reviews_2/norton",
}
"""Task -> archive, and the file in it."""


def tasks(
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified splits and subsets that depend on ``seed`` and the name alone.

    order   None: as in the table; a list of products; an integer: random
    shots   rows of train of each class; or
    train   rows of train in all; None: all
    valid   rows of valid, taken from train; None: a tenth of its sentences
    test    rows of test; None: all
    mirror  folder with asc_product_reviews/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, or data that cannot be had.
    """
    source = "product reviews (Hu and Liu 2004; Ding et al. 2008), CC BY 4.0"
    result = []
    for name in arrange(list(PRODUCTS), order):
        rows = _splits(clean(_marks(_file(PRODUCTS[name], mirror))), valid, seed, name)
        cut = sized(rows, train, valid, test, seed, name, shots)
        result.append(Task(name, LABELS, **cut, head="classify", score="", source=source))
    return result


def _file(member: str, mirror: str | None) -> str:
    archive = f"asc_product_reviews/{member.partition('/')[0]}.zip"
    try:
        with zipfile.ZipFile(io.BytesIO(read(archive, mirror))) as found:
            return found.read(f"{member}.txt").decode("latin-1")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ContinualError(f"{archive}: expected a zip with {member}.txt ({error}); fetch the file again") from None


def _marks(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """
    >>> list(_marks("[t]fine\\nzoom[+2][u], use{-1}##a lens .\\n##no mark"))
    [('positive', ('zoom', 'a lens .')), ('negative', ('use', 'a lens .'))]
    """
    for line in text.split("\n"):
        marks, found, sentence = line.partition("##")
        for aspect, sign in MARK.findall(marks) if found else ():
            yield LABELS[sign == "+"], (aspect.strip(), sentence.strip())


def _splits(pairs: Iterable[tuple[str, Text]], valid: int | None, seed: int, name: str) -> dict[str, list[Example]]:
    """Whole sentences in train, valid and test; a sentence is of the class of its first mark."""
    said: dict[str, list[Example]] = defaultdict(list)
    for label, text in pairs:
        said[text[1]].append(Example(text, LABELS.index(label)))
    sentences = [Example(sentence, rows[0].label) for sentence, rows in said.items()]
    pool, test = split(sentences, 0.2, seed, f"{name}/test")
    train, held = split(pool, 0.1 if valid is None else valid, seed, f"{name}/valid")
    parts = {"train": train, "valid": held, "test": test}
    return {part: [row for found in kept for row in said[str(found.text)]] for part, kept in parts.items()}
