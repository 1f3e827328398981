"""Programming languages: their files, their tree-sitter grammars, and which nodes of a tree are definitions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grammar:
    """How the source code of one language is parsed.

    Attributes:
        language: its name in metadata.
        module: the module of its grammar.
        function: the function of that module that returns it.
        scopes: nodes that have a name and contain definitions, such as classes.
        definitions: nodes that have a name and are not cut at what they contain, such as functions.
        separator: what joins a name and the scope it is in.
    """

    language: str
    module: str
    scopes: frozenset[str]
    definitions: frozenset[str]
    function: str = "language"
    separator: str = "."


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_JAVASCRIPT_SCOPES = _names("class_declaration class")
_JAVASCRIPT = _names(
    "function_declaration generator_function_declaration method_definition lexical_declaration variable_declaration"
)
_TYPESCRIPT_SCOPES = _JAVASCRIPT_SCOPES | _names("abstract_class_declaration internal_module module")
_TYPESCRIPT = _JAVASCRIPT | _names("interface_declaration type_alias_declaration enum_declaration")
_C = _names("function_definition struct_specifier union_specifier enum_specifier type_definition")

_PYTHON = Grammar(
    "python", "tree_sitter_python", _names("class_definition"), _names("function_definition type_alias_statement")
)
_JAVASCRIPT_GRAMMAR = Grammar("javascript", "tree_sitter_javascript", _JAVASCRIPT_SCOPES, _JAVASCRIPT)
_TYPESCRIPT_GRAMMAR = Grammar(
    "typescript", "tree_sitter_typescript", _TYPESCRIPT_SCOPES, _TYPESCRIPT, "language_typescript"
)
_TSX_GRAMMAR = Grammar("typescript", "tree_sitter_typescript", _TYPESCRIPT_SCOPES, _TYPESCRIPT, "language_tsx")
C = Grammar("c", "tree_sitter_c", frozenset(), _C)
CPP = Grammar(
    "cpp",
    "tree_sitter_cpp",
    _names("namespace_definition class_specifier struct_specifier"),
    _names("function_definition union_specifier enum_specifier type_definition concept_definition"),
    separator="::",
)
_JAVA = Grammar(
    "java",
    "tree_sitter_java",
    _names("class_declaration interface_declaration enum_declaration record_declaration"),
    _names("method_declaration constructor_declaration compact_constructor_declaration annotation_type_declaration"),
)
_GO = Grammar("go", "tree_sitter_go", frozenset(), _names("function_declaration method_declaration type_declaration"))
_RUST = Grammar(
    "rust",
    "tree_sitter_rust",
    _names("impl_item trait_item mod_item"),
    _names("function_item function_signature_item struct_item enum_item union_item type_item macro_definition"),
    separator="::",
)
_BASH = Grammar("bash", "tree_sitter_bash", frozenset(), _names("function_definition"))
_RUBY = Grammar("ruby", "tree_sitter_ruby", _names("class module"), _names("method singleton_method"), separator="::")
_CSHARP = Grammar(
    "csharp",
    "tree_sitter_c_sharp",
    _names(
        "namespace_declaration class_declaration struct_declaration interface_declaration record_declaration "
        "file_scoped_namespace_declaration"
    ),
    _names("method_declaration constructor_declaration property_declaration enum_declaration delegate_declaration"),
)
_PHP = Grammar(
    "php",
    "tree_sitter_php",
    _names("class_declaration interface_declaration trait_declaration enum_declaration"),
    _names("function_definition method_declaration"),
    "language_php",
    "::",
)

GRAMMARS = {
    **dict.fromkeys((".py", ".pyi"), _PYTHON),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), _JAVASCRIPT_GRAMMAR),
    **dict.fromkeys((".ts", ".mts", ".cts"), _TYPESCRIPT_GRAMMAR),
    ".tsx": _TSX_GRAMMAR,
    **dict.fromkeys((".c", ".h"), C),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), CPP),
    ".java": _JAVA,
    ".go": _GO,
    ".rs": _RUST,
    **dict.fromkeys((".sh", ".bash"), _BASH),
    ".rb": _RUBY,
    ".cs": _CSHARP,
    ".php": _PHP,
}
"""Grammars by suffix; that of .h is C++ where the file is."""
