"""Documents that are ZIP archives of XML: Office Open XML, OpenDocument, EPUB."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from serotine.errors import InputFileError
from serotine.ingest.limits import reading_limits
from serotine.ingest.limits import size as as_size
from serotine.ingest.readers.titles import given_title
from serotine.ingest.readers.xml_tree import all_of, attribute, first, parse_xml, text_of

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_CONTENT_TYPES = "[Content_Types].xml"


class Package:
    """The files in a package, unpacked as they are read, within a limit.

    Args:
        data: the bytes of the package.
        name: its name in messages.
        kind: what it should be, for messages: ".docx".
    """

    def __init__(self, data: bytes, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind
        self._unpacked = 0
        if data.startswith(_OLE):
            raise InputFileError(
                f"{name}: encrypted, or of an older format than {kind}; save it as {kind} without a password"
            )
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            raise self.damaged() from None
        self.names = frozenset(self._archive.namelist())

    def damaged(self) -> InputFileError:
        """Return the error for a package that is not what it should be."""
        return InputFileError(f"{self.name}: damaged, or not a {self._kind} file; write it again")

    def encrypted(self) -> InputFileError:
        """Return the error for a package that needs a password."""
        return InputFileError(f"{self.name}: encrypted; save it without a password first")

    def parts_size(self) -> int:
        """Return the size of everything in Office Open XML that a reader may take for XML, whatever its name."""
        parts = {part for part in self.names if part.endswith((".xml", ".rels"))}
        parts |= {target for _, target in self.relations(self.main_part()).values()}
        if _CONTENT_TYPES in self.names:
            overrides = all_of(self.xml(_CONTENT_TYPES), "Override")
            parts |= {attribute(override, "PartName").lstrip("/") for override in overrides}
        return sum(info.file_size for info in self._archive.infolist() if info.filename in parts)

    def count(self, prefix: str) -> int:
        """Return how many files are below a folder."""
        return sum(name.startswith(prefix) and not name.endswith("/") for name in self.names)

    def check_size(self, size: int) -> None:
        """Raise InputFileError if the limit is exceeded by reading `size` more bytes."""
        self._unpacked += size
        limit = reading_limits().package_bytes
        if self._unpacked > limit:
            raise InputFileError(f"{self.name}: must unpack to at most {as_size(limit)}; split it")

    def read(self, entry: str) -> bytes:
        """Return a file of the package.

        Raises:
            InputFileError: it is not there, damaged or encrypted, or the limit is exceeded.
        """
        try:
            info = self._archive.getinfo(entry)
            if info.flag_bits & 1:
                raise self.encrypted()
            # The archive never gives more than the size it declares.
            self.check_size(info.file_size)
            return self._archive.read(info)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
            raise self.damaged() from None

    def xml(self, entry: str) -> Element:
        """Return the root of an XML file of the package; errors as of `read`."""
        return parse_xml(self.read(entry), f"{self.name}/{entry}")

    def relations(self, entry: str) -> dict[str, tuple[str, str]]:
        """Return what a file of Office Open XML refers to: (last part of the type, file in the package) by id."""
        folder, base = posixpath.split(entry)
        relations = f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels"
        if relations not in self.names:
            return {}
        return {
            attribute(element, "Id"): (
                attribute(element, "Type").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, unquote(attribute(element, "Target")))).lstrip("/"),
            )
            for element in all_of(self.xml(relations), "Relationship")
            if attribute(element, "TargetMode") != "External"
        }

    def main_part(self) -> str:
        """Return the main file of Office Open XML."""
        for kind, target in self.relations("").values():
            if kind == "officeDocument" and target in self.names:
                return target
        raise self.damaged()

    def core_properties(self) -> dict[str, Any]:
        """Return title, author, date and language of Office Open XML, "" where it has none."""
        entry = next((target for kind, target in self.relations("").values() if kind == "core-properties"), "")
        if entry not in self.names:
            return {}
        root = self.xml(entry)
        return {
            "title": given_title(text_of(first(root, "title"))),
            "author": text_of(first(root, "creator")),
            "date": text_of(first(root, "modified")) or text_of(first(root, "created")),
            "language": text_of(first(root, "language")),
        }
