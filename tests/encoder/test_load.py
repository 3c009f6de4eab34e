"""From a folder to a frozen encoder: towers, pixels, pooling, codes; and what cannot be read is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf

from continual.adapter import fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import wrap
from continual.encoder.load import load
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method.full import Full
from continual.stream.base import Example, Image
from continual.stream.image import ImageReader
from continual.task_streams import toy
from tests import tiny

PIXELS = bytes(range(256)) * 3


def saved(folder: Path, family: str) -> Path:
    tiny.model(family).save_pretrained(folder)
    (tiny.processor() if family in tiny.IMAGES else tiny.tokenizer(toy.WORDS)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_is_read_from_a_folder(family: str, tmp_path: Path) -> None:
    found = load(str(saved(tmp_path, family)), max_length=16)
    assert (found.family, found.layers, found.width) == (family, 2, 32)
    made = tiny.encoder(family)
    assert found.fingerprint == made.fingerprint
    batch = tiny.batch_for(family)
    with torch.no_grad():
        assert torch.equal(AdaptedEncoder(found)(batch), AdaptedEncoder(made)(batch))


def clip(folder: Path, family: str) -> Path:
    """A checkpoint of both towers."""
    text = {**tiny._TEXT, **tiny._ENDS}
    made = {
        "clip": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=tiny._PIXELS, projection_dim=16)),
        "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=tiny._PIXELS)),
    }[family]()
    made.save_pretrained(folder)
    tiny.tokenizer(toy.WORDS).save_pretrained(folder)
    tiny.processor().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["clip", "siglip"])
@torch.no_grad()
def test_a_tower_of_two_is_chosen_and_keeps_its_weights(family: str, tmp_path: Path) -> None:
    folder = str(clip(tmp_path, family))
    with pytest.raises(ContinualError, match=f"{family} has two encoders; give encoder.tower=text or vision"):
        load(folder)
    whole = hf.AutoModel.from_pretrained(folder).eval()
    for tower, kind in (("text", whole.text_model), ("vision", whole.vision_model)):
        found = load(folder, tower=tower)
        assert found.family == f"{family}_{tower}_model"
        batch = tiny.batch_for(found.family)
        wanted = kind(
            **(
                {"pixel_values": batch.inputs}
                if tower == "vision"
                else {"input_ids": batch.inputs, "attention_mask": batch.mask}
            )
        )
        assert tiny.gap(AdaptedEncoder(found)(batch), wanted.last_hidden_state) < 1e-6


def test_a_tower_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"bert is one encoder; leave encoder\.tower null"):
        load(str(saved(tmp_path, "bert")), tower="text")


POOLERS = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**tiny._TEXT)),
    "albert": lambda: hf.AlbertModel(hf.AlbertConfig(**tiny._TEXT, embedding_size=16, **tiny._ENDS)),
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**tiny._PIXELS)),
    **{family: tiny.MODELS[family] for family in ("clip_text_model", "clip_vision_model", "siglip_vision_model")},
}


@pytest.mark.parametrize("family", POOLERS)
@torch.no_grad()
def test_the_pooler_is_the_encoders_own(family: str) -> None:
    made = POOLERS[family]().eval()
    reads = tiny.processor() if family in tiny.IMAGES else tiny.tokenizer()
    model = AdaptedEncoder(wrap(made, reads, name="x", max_length=16, pooling="pooler"))
    batch = tiny.batch_for(family)
    inputs = (
        {"pixel_values": batch.inputs}
        if family in tiny.IMAGES
        else {"input_ids": batch.inputs, "attention_mask": batch.mask}
    )
    assert torch.equal(model.read(batch).pooled, made(**inputs).pooler_output)


@torch.no_grad()
def test_means_leave_padding_out_and_cls_is_the_first_token() -> None:
    batch = tiny.batch()
    for pooling, by_hand in (("mean", lambda s: s[0, :5].mean(0)), ("cls", lambda s: s[0, 0])):
        model = AdaptedEncoder(wrap(tiny.model(), tiny.tokenizer(), name="x", pooling=pooling))
        states = model.read(batch)
        assert tiny.gap(states.pooled[0], by_hand(states.tokens)) < 1e-6


@pytest.mark.parametrize(
    ("family", "pooling", "why"),
    [
        ("bert", "max", "unknown encoder.pooling 'max'; choose from: cls, mean, pooler"),
        ("distilbert", "pooler", "distilbert has no pooler; choose from: mean, cls"),
        ("bert", "pooler", "this model was made without its pooler"),
        ("siglip_text_model", "pooler", "siglip_text_model has no pooler"),
        ("siglip_vision_model", "cls", "no first token of siglip_vision_model stands for the whole"),
        ("clip_text_model", "cls", "no first token of clip_text_model stands for the whole; choose mean or pooler"),
    ],
)
def test_a_pooling_that_an_encoder_lacks_is_refused(family: str, pooling: str, why: str) -> None:
    with pytest.raises(ContinualError, match=why):
        wrap(tiny.model(family), tiny.tokenizer(), name="x", pooling=pooling)


def test_images_are_read_as_the_folders_processor_says(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    found = load(str(saved(tmp_path, "vit")))
    rows = [Example(Image(16, 16, PIXELS), 1), Example(Image(8, 32, PIXELS), 0)]
    data = ImageReader(found.tokenizer, found.max_length)(rows, Classify(), ("a", "b"))
    assert [tuple(pixels.shape) for pixels in data.inputs] == [(3, 16, 16)] * 2
    plain = torch.tensor(list(PIXELS)).view(16, 16, 3).permute(2, 0, 1) / 127.5 - 1  # mean and deviation are 1/2
    assert tiny.gap(data.inputs[0], plain) < 1e-5
    with pytest.raises(ContinualError, match="this encoder reads images, got the text 'hello'"):
        ImageReader(found.tokenizer, 8)([Example("hello", 0)], Classify(), ("a", "b"))


def test_a_folder_without_a_processor_is_refused(tmp_path: Path) -> None:
    tiny.model("vit").save_pretrained(tmp_path)
    with pytest.raises(ContinualError, match=r"no preprocessor_config\.json; save it there too"):
        load(str(tmp_path))


@pytest.mark.parametrize("scheme", ["int8", "nf4"])
def test_an_encoder_of_codes_is_another_encoder(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    plain, coded = (load(str(saved(tmp_path, "bert")), quantize=q) for q in (None, scheme))
    assert plain.fingerprint != coded.fingerprint
    assert plain.parameters == coded.parameters
    model = AdaptedEncoder(coded)
    assert len(model.sites) == len(AdaptedEncoder(plain).sites)
    with pytest.raises(ContinualError, match="method=full changes the encoder's weights: they are kept as codes"):
        fresh(Full(), model.shapes, model.weights, 0, model.absent)


def test_a_pooler_is_known_where_it_is_used_and_nowhere_else() -> None:
    made = [hf.BertModel(hf.BertConfig(**tiny._TEXT)) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    with torch.no_grad():
        made[1].pooler.dense.weight.add_(1.0)
    for pooling, same in (("mean", True), ("pooler", False)):
        one, other = (wrap(model, tiny.tokenizer(), name="x", pooling=pooling) for model in made)
        assert one.fingerprint == other.fingerprint
        assert (one.reading == other.reading) == same
