"""A checkpoint folder as all formats read it: its files, tokens and modules."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tokenizers import AddedToken, Tokenizer, normalizers

from serotine.encoders.settings import SettingsFile, read_json
from serotine.encoders.spec import Projection, TokenPooling
from serotine.encoders.tokenizer_errors import tokenizer_errors
from serotine.encoders.weights import shapes, weight_files
from serotine.errors import EncoderError, reason, shown

PUNCTUATION = list(string.punctuation)
# Tokenizers without a limit store an enormous number, such as 1e30.
_NO_LIMIT = 1 << 20
_DEFAULT_LIMIT = 512
_MODULE_KINDS = ("Transformer", "Dense", "MultiVectorMask", "Normalize", "Pooling", "HierarchicalTokenPooling")
_MAX_POOL_FACTOR = 1 << 20
_PACKAGES = ("sentence_transformers", "pylate")
_TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_FILES = (_TOKENIZER_FILE, f"{_TOKENIZER_FILE}.xz")
"""Names of an exported encoder's tokenizer."""
_COMPRESSED = ".xz"
_COMPRESSED_FROM = 4 << 20
_MAX_TOKENIZER_BYTES = 128 << 20
# Settings files of the Transformer module; old releases named them for the architecture.
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
    """One entry of `modules.json`: its class name, and its folder relative to the checkpoint."""

    kind: str
    folder: str


class Checkpoint:
    """A folder with a Hugging Face checkpoint; files are read on first use.

    Every member raises EncoderError for files that are missing, damaged or not allowed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.settings = SettingsFile(folder / "config_sentence_transformers.json", missing_ok=True)

    @cached_property
    def modules(self) -> list[Module]:
        """Modules in order; empty without a `modules.json`."""
        path = self.folder / "modules.json"
        if not path.is_file():
            return []
        entries = read_json(path)
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise EncoderError(f"{path}: must be a list of modules")
        return [_parse_module(path, entry) for entry in entries]

    def module(self, kind: str) -> Module | None:
        """Return the only module of a kind; None without one."""
        modules = [module for module in self.modules if module.kind == kind]
        if len(modules) > 1:
            raise EncoderError(f"{self.folder / 'modules.json'}: must list at most one {kind}, got {len(modules)}")
        return modules[0] if modules else None

    @cached_property
    def backbone_folder(self) -> str:
        """Folder of the transformer, relative to the checkpoint."""
        transformer = self.module("Transformer")
        if self.modules and (transformer is None or self.modules[0].kind != "Transformer"):
            raise EncoderError(f"{self.folder / 'modules.json'}: the first module must be a Transformer")
        return transformer.folder if transformer is not None else ""

    @cached_property
    def config(self) -> SettingsFile:
        """The backbone's `config.json`."""
        folder = self.folder / self.backbone_folder
        if (folder / "adapter_config.json").is_file():
            raise EncoderError(
                f"{folder}: an adapter without its base model; merge it (merge_and_unload) and save it again"
            )
        return SettingsFile(folder / "config.json")

    @cached_property
    def model_type(self) -> str:
        """Model type of the backbone, in transformers' terms."""
        model_type = self.config.text("model_type")
        if model_type is None:
            raise EncoderError(f"{self.config.path}: 'model_type' is missing; not a transformers checkpoint")
        return model_type

    @cached_property
    def module_settings(self) -> SettingsFile:
        """Settings of the Transformer module."""
        folder = self.folder / self.backbone_folder
        names = [name for name in _MODULE_SETTINGS if (folder / name).is_file()]
        return SettingsFile(folder / (names[0] if names else _MODULE_SETTINGS[0]), missing_ok=True)

    @cached_property
    def tokenizer_settings(self) -> SettingsFile:
        """The tokenizer's `tokenizer_config.json`."""
        return SettingsFile(self.folder / self.tokenizer_folder / "tokenizer_config.json", missing_ok=True)

    @cached_property
    def tokenizer_folder(self) -> str:
        """Folder of `tokenizer.json`, relative to the checkpoint."""
        for folder in (self.backbone_folder, ""):
            if (self.folder / folder / _TOKENIZER_FILE).is_file():
                return folder
        raise EncoderError(
            f"{self.folder / self.backbone_folder / _TOKENIZER_FILE}: is missing; create it with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )

    @property
    def tokenizer_file(self) -> str:
        """Path of `tokenizer.json`, relative to the checkpoint."""
        return str(PurePosixPath(self.tokenizer_folder) / _TOKENIZER_FILE)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The stored tokenizer, without its padding and truncation."""
        tokenizer = read_tokenizer(self.folder / self.tokenizer_file)
        prepare_tokenizer(tokenizer, (), lower_case=False)
        return tokenizer

    def max_tokens(self) -> int:
        """Return the most tokens of a text where the format sets no limit, by sentence-transformers' rules."""
        limit = self.module_settings.integer("max_seq_length")
        if limit is not None:
            return limit
        stored = self.tokenizer_settings.values.get("model_max_length")
        limit = int(stored) if isinstance(stored, (int, float)) and 0 < stored < _NO_LIMIT else _NO_LIMIT
        positions = self.config.integer("max_position_embeddings", minimum=-1)
        if positions is not None and positions > 0:
            limit = min(limit, positions)
        return limit if limit < _NO_LIMIT else _DEFAULT_LIMIT

    def special_token(self, role: str) -> str | None:
        """Return a special token by its role, such as "mask_token"; None without one."""
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

    def token_id(self, token: str, role: str) -> int:
        """Return the id of a required token; `role` describes it in the message of the error."""
        token_id = self.tokenizer.token_to_id(token)
        if token_id is None:
            raise EncoderError(f"{self.folder / self.tokenizer_file}: no token {token!r}, {role}")
        return int(token_id)

    def expansion_token(self, token: str | None = None) -> int:
        """Return the id of the token that queries are filled up with: `token`, or the mask or end-of-text token."""
        token = token or self.special_token("mask_token") or self.special_token("eos_token")
        if token is None:
            raise EncoderError(
                f"{self.folder}: query expansion needs a mask or end-of-text token, and the tokenizer has neither"
            )
        return self.token_id(token, "the expansion token")

    def skip_ids(self, words: list[str]) -> tuple[int, ...]:
        """Return the ids of the words that are single tokens, sorted; their vectors are not scored."""
        unknown = self.special_token("unk_token")
        ids = {word: self.tokenizer.token_to_id(word) for word in words}
        unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)
        return tuple(
            sorted(
                {int(id_) for word, id_ in ids.items() if id_ is not None and (id_ != unknown_id or word == unknown)}
            )
        )

    def markers(self, prompts: list[str], *, unsplit_only: bool = False) -> tuple[str, ...]:
        """Return the added tokens that prompts begin with: the whole prompt, or its first word.

        PyLate and Stanford insert a marker's id, so it counts even if the tokenizer would split or lower-case its text;
        `unsplit_only` leaves out such markers.
        """
        added = {token.content for token in self.tokenizer.get_added_tokens_decoder().values()}
        markers: list[str] = []
        for prompt in prompts:
            for marker in (prompt, *prompt.split(None, 1)[:1]):
                if marker.strip() and (marker in added or self.tokenizer.token_to_id(marker) is not None):
                    if marker not in markers and (not unsplit_only or is_single_token(self.tokenizer, marker)):
                        markers.append(marker)
                    break
        return tuple(markers)

    @cached_property
    def hidden_size(self) -> int:
        """Dimension of the backbone's states."""
        for key in ("hidden_size", "dim", "d_model", "n_embd"):
            value = self.config.integer(key)
            if value is not None:
                return value
        raise EncoderError(f"{self.config.path}: 'hidden_size' is missing, the dimension of the backbone's states")

    def projections(self) -> tuple[Projection, ...]:
        """Return the Dense modules, whose dimensions must follow from each other."""
        layers: list[Projection] = []
        dim = self.hidden_size
        for module in self.modules:
            if module.kind != "Dense":
                continue
            settings = SettingsFile(self.folder / module.folder / "config.json")
            inputs, outputs = settings.integer("in_features"), settings.integer("out_features")
            if inputs is None or outputs is None:
                raise EncoderError(f"{settings.path}: 'in_features' or 'out_features' is missing")
            if inputs != dim:
                raise settings.invalid("in_features", f"{dim}, the dimension of the layer before it")
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
            dim = outputs
        return tuple(layers)

    def token_pooling(self) -> TokenPooling:
        """Return the settings of token pooling; a factor of 1 without the module."""
        module = self.module("HierarchicalTokenPooling")
        if module is None:
            return TokenPooling()
        settings = SettingsFile(self.folder / module.folder / "config.json")
        factor = settings.values.get("pool_factor", 1.0)
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor <= _MAX_POOL_FACTOR:
            raise settings.invalid("pool_factor", "a number of at least 1")
        tasks = settings.strings("tasks") or ["document"]
        return TokenPooling(
            float(factor),
            settings.integer("num_protected_tokens", 1, minimum=0) or 0,
            settings.flag("normalize_embeddings", False),
            "query" in tasks,
        )

    @cached_property
    def backbone_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the backbone's files."""
        tensors: dict[str, tuple[int, ...]] = {}
        for file in weight_files(self.folder / self.backbone_folder):
            tensors |= shapes(file)
        return tensors

    @property
    def pads_left(self) -> bool:
        """Whether batches are padded on the left."""
        return self.tokenizer_settings.text("padding_side", "right") == "left"

    @property
    def truncates_left(self) -> bool:
        """Whether long texts are truncated on the left."""
        return self.tokenizer_settings.text("truncation_side", "right") == "left"


def _parse_module(path: Path, entry: dict[str, object]) -> Module:
    reference, folder = entry.get("type"), entry.get("path")
    if not isinstance(reference, str) or not isinstance(folder, str):
        raise EncoderError(f"{path}: every module needs a 'type' and a 'path'")
    names = reference.split(".")
    # Compared, never imported: a file can name any class.
    if names[0] not in _PACKAGES or names[-1] not in _MODULE_KINDS:
        raise EncoderError(
            f"{path}: module must be one of {', '.join(map(repr, _MODULE_KINDS))}, got {shown(reference)}; "
            "code that comes with a checkpoint is never run"
        )
    relative = PurePosixPath(folder)
    if relative.is_absolute() or ".." in relative.parts or "\\" in folder:
        raise EncoderError(f"{path}: 'path' must be inside the checkpoint, got {shown(folder)}")
    return Module(names[-1], folder)


def activation_name(settings: SettingsFile, reference: str) -> str:
    """Return the class name of an activation, which must be a supported one."""
    from serotine.encoders.projection import ACTIVATIONS

    names = reference.split(".")
    if names[0] != "torch" or names[-1] not in ACTIVATIONS:
        raise settings.invalid("activation_function", f"one of torch's {', '.join(ACTIVATIONS)}")
    return names[-1]


def read_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json`, or one that `write_tokenizer` compressed.

    Raises:
        EncoderError: the file is missing or not a tokenizer.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: is missing; the checkpoint is incomplete")
    try:
        with tokenizer_errors(path, "cannot be read as a tokenizer"):
            if path.suffix == _COMPRESSED:
                return Tokenizer.from_buffer(_decompressed(path))
            return Tokenizer.from_file(str(path))
    except EncoderError:
        raise
    # Besides the library's errors, those of unpacking.
    except Exception as error:
        raise EncoderError(f"{path}: cannot be read as a tokenizer ({reason(error)})") from error


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> str:
    """Write a tokenizer, compressed if its vocabulary is large; return the file's name."""
    text = tokenizer.to_str(pretty=False).encode()
    if len(text) < _COMPRESSED_FROM:
        tokenizer.save(str(folder / _TOKENIZER_FILE))
        return _TOKENIZER_FILE
    import lzma

    name = f"{_TOKENIZER_FILE}{_COMPRESSED}"
    # Without a time or a name in the file: the same tokenizer gives the same bytes.
    (folder / name).write_bytes(lzma.compress(text))
    return name


def _decompressed(path: Path) -> bytes:
    """Return the content of a compressed tokenizer, which must not be enormous."""
    import lzma

    with lzma.open(path) as file:
        content = file.read(_MAX_TOKENIZER_BYTES + 1)
    if len(content) > _MAX_TOKENIZER_BYTES:
        raise ValueError(f"more than {_MAX_TOKENIZER_BYTES:,} bytes")
    return content


def prepare_tokenizer(tokenizer: Tokenizer, markers: tuple[str, ...], *, lower_case: bool) -> None:
    """Disable the stored padding and truncation, and make every marker a single token."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if lower_case and not _lower_cases(tokenizer):
        stored = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *stored])
    for marker in markers:
        if not is_single_token(tokenizer, marker):
            tokenizer.add_special_tokens([AddedToken(marker, normalized=False, special=True)])


def is_single_token(tokenizer: Tokenizer, marker: str) -> bool:
    """Return whether the tokenizer encodes a marker's text as that token alone."""
    return list(tokenizer.encode(marker, add_special_tokens=False).tokens) == [marker]


def _lower_cases(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer has a Lowercase normalizer."""
    normalizer = json.loads(tokenizer.to_str())["normalizer"] or {}
    return any(step.get("type") == "Lowercase" for step in normalizer.get("normalizers", [normalizer]))
