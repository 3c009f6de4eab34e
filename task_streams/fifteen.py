"""The long sequence: fifteen English tasks in three published orders, as O-LoRA has them (Razdaibiedina et al. 2023).

| task    | what                 | classes | train / test here | in O-LoRA's runs | rows from                       |
|---------|----------------------|---------|-------------------|------------------|---------------------------------|
| mnli    | entailment           | 3       | 1,200 / 750       | 3,000 / 7,600    | O-LoRA                          |
| cb      | entailment           | 3       | 250 / 56          | 250 / 56         | O-LoRA, all                     |
| wic     | same sense of a word | 2       | 800 / 500         | 2,000 / 638      | O-LoRA                          |
| copa    | cause or effect      | 2       | 400 / 100         | 400 / 100        | O-LoRA, all                     |
| qqp     | same question        | 2       | 800 / 500         | 2,000 / 7,600    | O-LoRA                          |
| boolqa  | yes-no questions     | 2       | 800 / 500         | 2,000 / 3,270    | O-LoRA                          |
| rte     | entailment           | 2       | 800 / 277         | 2,000 / 277      | O-LoRA                          |
| imdb    | sentiment            | 2       | 600 / 500         | 2,000 / 7,600    | O-LoRA's train only             |
| yelp    | stars                | 5       | 1,500 / 1,000     | 5,000 / 7,600    | O-LoRA's train only             |
| amazon  | stars                | 5       | 2,000 / 1,000     | 5,000 / 7,600    | O-LoRA                          |
| sst-2   | sentiment            | 2       | 800 / 500         | 2,000 / 872      | O-LoRA                          |
| dbpedia | kinds of things      | 14      | 2,000 / 1,000     | 14,000 / 7,600   | O-LoRA's test only              |
| agnews  | topics               | 4       | 1,600 / 1,000     | 4,000 / 7,600    | O-LoRA                          |
| multirc | right answer or not  | 2       | 800 / 300         | 2,000 / 4,848    | O-LoRA; test: FewGLUE's dev set |
| yahoo   | topics               | 10      | 1,200 / 600       | 10,000 / 7,600   | LFPT5                           |

The counts are those of the files; cleaning takes one row of rte. The files are subsampled by class, and where O-LoRA's
own are too large to be passed on, train and test are parts of one split: scores are comparable with each other, but not
with published ones. With O-LoRA's whole files in the mirror the stream is theirs, but for valid and cleaning.

valid is held out of train: O-LoRA's dev files are copies of its test files, so they are not read. Published runs take
k = 1,000, 200, 100 or 20 rows of each class: ``shots``. cb has 16 rows of "neutral".

Texts. Two texts that a question is about are a pair, without the words that O-LoRA puts before them ("sentence 1:"):
mnli, cb, rte, qqp, boolqa (question, passage), multirc (paragraph; question and answer), wic (word and first sentence;
second sentence), copa (premise and question; both options, marked A and B: an encoder hardly does better than chance at
it). The others are one text as it stands, "Title: … Text: …".

Labels are O-LoRA's words, sorted, so that a label that two tasks share is the same label: entailment, contradiction and
neutral of mnli, cb, rte; True and False of qqp, boolqa, wic, multirc; Good and Bad of imdb, sst-2; the five of yelp and
amazon. The last five hold "neutral", which is another thing in mnli and cb: of this the lint warns.

Orders: order-4, order-5, order-6 of O-LoRA (Table 7; 8, 9, 10 of Progressive Prompts). order-6 was read in O-LoRA's
scripts/long.sh, the other two in scripts of later papers that agree.

Sources and licences: github.com/cmnfriend/O-LoRA at 07117e1f (MIT; its data sets are for research: AG News; Amazon,
Yelp, DBpedia and Yahoo of Zhang et al. 2015; GLUE; SuperGLUE; IMDB); yahoo: qcwthu/Lifelong-Fewshot-Language-Learning
at cf7d17ce (Apache-2.0), its three folds pooled, deduplicated, divided 60 to 40; multirc test: THUDM/P-tuning at
f4225d4d (MIT). A mirror holds cl_benchmark/<Folder>/train.json, test.json and labels.json, gzipped or not.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.cl_benchmark import FOLDERS, task
from continual.stream.order import arrange

ORDERS = {
    "order-4": tuple(FOLDERS),
    "order-5": tuple(
        "multirc boolqa wic mnli cb copa qqp rte imdb sst-2 dbpedia agnews yelp amazon yahoo".split()  # noqa: SIM905
    ),
    "order-6": tuple(
        "yelp amazon mnli cb copa qqp rte imdb sst-2 dbpedia agnews yahoo multirc boolqa wic".split()  # noqa: SIM905
    ),
}


def tasks(
    order: str | int | Sequence[str] | None = "order-4",
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    order   order-4, order-5, order-6; a list of tasks, perhaps not all; an integer: random; None: as in the table
    shots   rows of train of each class; or
    train   rows of train in all; None: all
    valid   rows of valid, taken from train; None: a tenth of train
    test    rows of test; None: all
    mirror  folder with cl_benchmark/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, or data that cannot be had.
    """
    return [task(name, shots, train, valid, test, seed, mirror) for name in arrange(list(FOLDERS), order, ORDERS)]
