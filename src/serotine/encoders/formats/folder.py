"""What the formats share: the files of a checkpoint folder, its tokens, its modules."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tokenizers import AddedToken, Tokenizer, normalizers

from serotine.encoders.settings import SettingsFile, read_json
from serotine.encoders.spec import Projection, TokenPooling
from serotine.encoders.weights import shapes, weight_files
from serotine.errors import EncoderError, reason

PUNCTUATION = list(string.punctuation)
# Where a tokenizer says that it has no limit, it says so with an enormous number.
_MOST_TOKENS = 1 << 20
_NO_LIMIT = 512
_KINDS = ("Transformer", "Dense", "MultiVectorMask", "Normalize", "Pooling", "HierarchicalTokenPooling")
_PACKAGES = ("sentence_transformers", "pylate")
_TOKENIZER = "tokenizer.json"
# Settings of the Transformer module, by the architecture an old release wrote it for.
_MODULE_SETTINGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)


@dataclass(frozen=True, slots=True)
class Module:
    """One entry of `modules.json`: its class, by its last name, and its folder relative to the checkpoint."""

    kind: str
    folder: str


class Checkpoint:
    """A folder with a Hugging Face checkpoint, looked into as far as it is asked for.

    Raises:
        EncoderError: its files are missing, damaged or not allowed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.settings = SettingsFile(folder / "config_sentence_transformers.json", missing_ok=True)

    @cached_property
    def modules(self) -> list[Module]:
        """The modules in order; none where there is no `modules.json`."""
        path = self.folder / "modules.json"
        if not path.is_file():
            return []
        listed = read_json(path)
        if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
            raise EncoderError(f"{path}: must be a list of modules")
        return [self._module(path, entry) for entry in listed]

    def _module(self, path: Path, entry: dict[str, object]) -> Module:
        reference, folder = entry.get("type"), entry.get("path")
        if not isinstance(reference, str) or not isinstance(folder, str):
            raise EncoderError(f"{path}: every module needs a 'type' and a 'path'")
        parts = reference.split(".")
        # Names are compared, never imported: what a file names could be anything.
        if parts[0] not in _PACKAGES or parts[-1] not in _KINDS:
            raise EncoderError(
                f"{path}: module {reference[:80]!r} is not one this version reads ({', '.join(_KINDS)}); "
                "code that comes with a checkpoint is never run"
            )
        place = PurePosixPath(folder)
        if place.is_absolute() or ".." in place.parts or "\\" in folder:
            raise EncoderError(f"{path}: path {folder[:80]!r} leads out of the checkpoint")
        return Module(parts[-1], folder)

    def only(self, kind: str) -> Module | None:
        """The one module of a kind, if there is one."""
        found = [module for module in self.modules if module.kind == kind]
        if len(found) > 1:
            raise EncoderError(f"{self.folder / 'modules.json'}: must list at most one {kind}, got {len(found)}")
        return found[0] if found else None

    @cached_property
    def backbone_folder(self) -> str:
        """Folder of the transformer, relative to the checkpoint."""
        transformer = self.only("Transformer")
        if self.modules and (transformer is None or self.modules[0].kind != "Transformer"):
            raise EncoderError(f"{self.folder / 'modules.json'}: the first module must be a Transformer")
        return transformer.folder if transformer is not None else ""

    @cached_property
    def config(self) -> SettingsFile:
        """The backbone's `config.json`."""
        return SettingsFile(self.folder / self.backbone_folder / "config.json")

    @cached_property
    def model_type(self) -> str:
        """The transformers model type of the backbone."""
        kind = self.config.text("model_type")
        if kind is None:
            raise EncoderError(f"{self.config.path}: has no 'model_type'; it is no transformers model")
        return kind

    @cached_property
    def module_settings(self) -> SettingsFile:
        """What the Transformer module says of itself."""
        at = self.folder / self.backbone_folder
        names = [name for name in _MODULE_SETTINGS if (at / name).is_file()]
        return SettingsFile(at / (names[0] if names else _MODULE_SETTINGS[0]), missing_ok=True)

    @cached_property
    def tokenizer_settings(self) -> SettingsFile:
        """`tokenizer_config.json`."""
        return SettingsFile(self.folder / self.tokenizer_folder / "tokenizer_config.json", missing_ok=True)

    @cached_property
    def tokenizer_folder(self) -> str:
        """Folder of `tokenizer.json`, relative to the checkpoint."""
        for folder in (self.backbone_folder, ""):
            if (self.folder / folder / _TOKENIZER).is_file():
                return folder
        raise EncoderError(
            f"{self.folder / self.backbone_folder / _TOKENIZER}: is missing; write it once with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )

    @property
    def tokenizer_file(self) -> str:
        """Path of `tokenizer.json`, relative to the checkpoint."""
        return str(PurePosixPath(self.tokenizer_folder) / _TOKENIZER)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer as it is stored, but for its padding and truncation."""
        tokenizer = read_tokenizer(self.folder / self.tokenizer_file)
        prepare_tokenizer(tokenizer, (), lower_case=False)
        return tokenizer

    def longest_text(self) -> int:
        """Most tokens of a text where the format itself sets no limit, as sentence-transformers finds it."""
        limit = self.module_settings.whole("max_seq_length")
        if limit is not None:
            return limit
        stored = self.tokenizer_settings.values.get("model_max_length")
        # Written as 1e30 where there is none.
        limit = int(stored) if isinstance(stored, (int, float)) and 0 < stored < _MOST_TOKENS else _MOST_TOKENS
        positions = self.config.whole("max_position_embeddings", least=-1)
        if positions is not None and positions > 0:
            limit = min(limit, positions)
        return limit if limit < _MOST_TOKENS else _NO_LIMIT

    def special(self, role: str) -> str | None:
        """A special token by its role, "mask_token" for example."""
        for settings in (
            self.tokenizer_settings,
            SettingsFile(self.folder / self.tokenizer_folder / "special_tokens_map.json", missing_ok=True),
        ):
            value = settings.values.get(role)
            if isinstance(value, dict):
                value = value.get("content")
            if isinstance(value, str) and value:
                return value
        return None

    def token_id(self, token: str, what: str) -> int:
        """The id of a token that must be there."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise EncoderError(f"{self.folder / self.tokenizer_file}: knows no token {token!r}, which is {what}")
        return int(found)

    def expansion_token(self, named: str | None = None) -> int:
        """What queries are filled up with: the token named, else the mask, else the end of the text."""
        token = named or self.special("mask_token") or self.special("eos_token")
        if token is None:
            raise EncoderError(
                f"{self.folder}: queries are to be filled up, and the tokenizer has neither a mask nor an end token"
            )
        return self.token_id(token, "what queries are filled up with")

    def skip_ids(self, words: list[str]) -> tuple[int, ...]:
        """Ids of the words whose vectors are left out; words that are no token of their own are passed over."""
        unknown = self.special("unk_token")
        ids = {word: self.tokenizer.token_to_id(word) for word in words}
        unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)
        return tuple(
            sorted(
                {int(id_) for word, id_ in ids.items() if id_ is not None and (id_ != unknown_id or word == unknown)}
            )
        )

    def markers(self, prompts: list[str], *, known: bool = False) -> tuple[str, ...]:
        """The added tokens that prompts begin with: the whole prompt, or its first word.

        A marker must be found whole, though the tokenizer would cut up or lower-case its text: PyLate and Stanford put
        in its id. Where `known`, only those the tokenizer finds whole as it is.
        """
        added = {token.content for token in self.tokenizer.get_added_tokens_decoder().values()}
        found = []
        for prompt in prompts:
            for marker in (prompt, *prompt.split(None, 1)[:1]):
                if marker.strip() and (marker in added or self.tokenizer.token_to_id(marker) is not None):
                    if marker not in found and (not known or is_whole(self.tokenizer, marker)):
                        found.append(marker)
                    break
        return tuple(found)

    @cached_property
    def hidden(self) -> int:
        """Dimension of the backbone's states."""
        for key in ("hidden_size", "dim", "d_model", "n_embd"):
            value = self.config.whole(key)
            if value is not None:
                return value
        raise EncoderError(f"{self.config.path}: does not say the dimension of its states ('hidden_size')")

    def projections(self) -> tuple[Projection, ...]:
        """The Dense modules, each checked against its own weights' shapes."""
        layers: list[Projection] = []
        width = self.hidden
        for module in self.modules:
            if module.kind != "Dense":
                continue
            settings = SettingsFile(self.folder / module.folder / "config.json")
            inputs, outputs = settings.whole("in_features"), settings.whole("out_features")
            if inputs is None or outputs is None:
                raise settings.wrong("in_features", "given, as 'out_features' must be")
            if inputs != width:
                raise EncoderError(f"{settings.path}: 'in_features' is {inputs}, what comes before it gives {width}")
            # sentence-transformers' own default; PyLate has none and writes Identity.
            activation = settings.text("activation_function", "torch.nn.modules.activation.Tanh") or ""
            layer = Projection(
                module.folder,
                inputs,
                outputs,
                settings.flag("bias", True),
                activation_name(settings, activation),
                settings.flag("use_residual", False),
            )
            weight_files(self.folder / module.folder)
            layers.append(layer)
            width = outputs
        return tuple(layers)

    def token_pooling(self) -> TokenPooling:
        """The pooling module, if the checkpoint has one."""
        module = self.only("HierarchicalTokenPooling")
        if module is None:
            return TokenPooling()
        settings = SettingsFile(self.folder / module.folder / "config.json")
        factor = settings.values.get("pool_factor", 1.0)
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor <= _MOST_TOKENS:
            raise settings.wrong("pool_factor", "a number of at least 1")
        tasks = settings.words("tasks") or ["document"]
        return TokenPooling(
            float(factor),
            settings.whole("num_protected_tokens", 1, least=0) or 0,
            settings.flag("normalize_embeddings", False),
            "query" in tasks,
        )

    @cached_property
    def backbone_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the backbone's files."""
        found: dict[str, tuple[int, ...]] = {}
        for file in weight_files(self.folder / self.backbone_folder):
            found |= shapes(file)
        return found

    def sides_of_text(self) -> tuple[bool, bool]:
        """Whether batches are padded, and texts cut, on the left."""
        return (
            self.tokenizer_settings.text("padding_side", "right") == "left",
            self.tokenizer_settings.text("truncation_side", "right") == "left",
        )


def activation_name(settings: SettingsFile, reference: str) -> str:
    """The last name of an activation's class, if it is an allowed one."""
    from serotine.encoders.projection import ACTIVATIONS

    parts = reference.split(".")
    if parts[0] != "torch" or parts[-1] not in ACTIVATIONS:
        raise settings.wrong("activation_function", f"one of torch's {', '.join(ACTIVATIONS)}")
    return parts[-1]


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json`.

    Raises:
        EncoderError: it is missing, or none.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: is missing; the checkpoint is not whole")
    try:
        return Tokenizer.from_file(str(path))
    # The library raises plain Exception for a file it cannot parse.
    except Exception as error:
        raise EncoderError(f"{path}: cannot be read as a tokenizer ({reason(error)})") from error


def prepare_tokenizer(tokenizer: Tokenizer, markers: tuple[str, ...], *, lower_case: bool) -> None:
    """Switches off the padding and truncation it was stored with, and makes its markers be found whole."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if lower_case and not _lower_cases(tokenizer):
        before = [normalizers.Lowercase()]
        tokenizer.normalizer = normalizers.Sequence(before + ([tokenizer.normalizer] if tokenizer.normalizer else []))
    for marker in markers:
        if not is_whole(tokenizer, marker):
            tokenizer.add_special_tokens([AddedToken(marker, normalized=False, special=True)])


def is_whole(tokenizer: Tokenizer, marker: str) -> bool:
    """Whether a marker in a text comes out as the one token it is."""
    return list(tokenizer.encode(marker, add_special_tokens=False).tokens) == [marker]


def _lower_cases(tokenizer: Tokenizer) -> bool:
    """Whether one of its normalizers is there to lower-case."""
    stored = json.loads(tokenizer.to_str())["normalizer"] or {}
    return any(one["type"] == "Lowercase" for one in stored.get("normalizers", [stored]) if "type" in one)
