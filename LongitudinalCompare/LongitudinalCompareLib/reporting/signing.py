"""Signing a PDF with the user's own key (PAdES), and telling whether a signed one is still what was signed.

The key is a PKCS#12 file (.p12, .pfx) of the user; neither it nor its passphrase is kept or logged.
"""

from __future__ import annotations

import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from MRISegSuiteLib.errors import BadInput, error_from_write
from MRISegSuiteLib.files import replace

_FIELD = "Signature1"


@dataclass(frozen=True)
class SignatureCheck:
    """What is known about the signature of a PDF.

    Attributes:
        is_signed: there is a signature.
        is_intact: it is valid, covers the whole file, and not a bit has changed since.
        signer: common name in the certificate. Who that is, is for the reader to judge: no authority is asked.
        problem: why it is not intact; "" where it is.
    """

    is_signed: bool
    is_intact: bool
    signer: str = ""
    problem: str = ""


def sign_pdf(path, key_file, passphrase: str, reason: str = "Read and decided", out=None) -> Path:
    """Sign a PDF (PAdES baseline B) with the key in a PKCS#12 file.

    Args:
        path: the PDF. out: the signed one; None replaces ``path``.
        passphrase: of the key file; "" for none.

    Raises:
        BadInput: the key file cannot be read or the passphrase is wrong, or the PDF is none.
        DiskFull, UnwritableOutput
    """
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.sign import fields, signers
    from pyhanko.sign.general import SigningError

    path, out = Path(path), Path(out or path)
    if not path.is_file():
        raise BadInput(f"{path} does not exist.", "Write the report first.")
    try:
        key = Path(key_file).read_bytes()
    except OSError as exception:
        raise BadInput(
            f"{key_file} cannot be read: {exception.strerror}.", "Choose your .p12 or .pfx file."
        ) from exception
    try:
        signer = signers.SimpleSigner.load_pkcs12_data(key, other_certs=[], passphrase=passphrase.encode() or None)
    except ValueError as exception:
        raise BadInput(
            f"{key_file} cannot be opened: the passphrase is wrong, or it is no PKCS#12 key file.",
            "Type the passphrase again, or choose your .p12 or .pfx file.",
        ) from exception
    except AttributeError as exception:  # what pyHanko runs into where the file holds certificates alone
        raise BadInput(f"{key_file} holds no private key.", "Choose the file with your key.") from exception
    metadata = signers.PdfSignatureMetadata(
        field_name=_FIELD, reason=reason, subfilter=fields.SigSeedSubFilter.PADES, md_algorithm="sha256"
    )
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with open(path, "rb") as source, open(aside, "wb") as target:
            signers.sign_pdf(IncrementalPdfFileWriter(source), metadata, signer=signer, output=target)
        replace(aside, out)
    except PdfError as exception:
        raise BadInput(f"{path} cannot be signed: it is no sound PDF.", "Write the report again.") from exception
    except SigningError as exception:
        raise BadInput(
            f"{path} cannot be signed: {str(exception).rstrip('.')}.", "Is it signed already? Then check it."
        ) from exception
    except OSError as exception:
        raise error_from_write(exception, out) from exception
    finally:
        aside.unlink(missing_ok=True)
    return out


def check_signature(path) -> SignatureCheck:
    """Whether a PDF is signed, and whether it is, bit by bit, what was signed.

    Raises:
        BadInput: the file does not exist.
    """
    from pyhanko.pdf_utils.reader import PdfFileReader

    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as exception:
        raise BadInput(f"{path} cannot be read: {exception.strerror}.", "Check the path.") from exception
    looks_signed = b"/ByteRange" in content
    try:
        with open(path, "rb") as stream:
            signatures = PdfFileReader(stream).embedded_signatures
            if not signatures:
                return SignatureCheck(
                    looks_signed, False, problem="The signature cannot be read." if looks_signed else ""
                )
            signature = signatures[-1]
            signer = str(signature.signer_cert.subject.native.get("common_name", ""))
            whole = signature.evaluate_signature_coverage().name == "ENTIRE_FILE"
            sound = whole and _is_exact(content, signature) and _is_valid(signature)
    except Exception as exception:  # noqa: BLE001  a damaged file runs the parser into whatever there is
        return SignatureCheck(True, False, problem=f"The signature cannot be checked ({type(exception).__name__}).")
    return SignatureCheck(True, sound, signer, "" if sound else "The file was changed after it was signed.")


def _is_valid(signature) -> bool:
    """The digest is that of the file, the signature that of the digest, the certificate the one that was signed with;
    whether to trust the certificate is not asked."""
    from pyhanko.sign.general import check_ess_certid, find_unique_cms_attribute
    from pyhanko.sign.validation.generic_cms import validate_sig_integrity

    info, certificate = signature.signer_info, signature.signer_cert
    named = find_unique_cms_attribute(info["signed_attrs"], "signing_certificate_v2")["certs"][0]
    intact, valid = validate_sig_integrity(info, certificate, "data", signature.compute_digest())
    return intact and valid and check_ess_certid(certificate, named) and _says_only_what_is_signed(signature)


def _says_only_what_is_signed(signature) -> bool:
    """The few fields of the envelope that no signature covers repeat what is signed: they must do so to the letter."""
    envelope, info, certificate = signature.signed_data, signature.signer_info, signature.signer_cert
    signer = info["sid"].chosen
    algorithms = [one.dump() for one in envelope["digest_algorithms"]]
    return (
        envelope["version"].native == info["version"].native == "v1"
        and algorithms == [info["digest_algorithm"].dump()]
        and signer["issuer"].dump() == certificate.issuer.dump()
        and signer["serial_number"].native == certificate.serial_number
        and envelope.copy().dump(force=True) == envelope.dump()
    )


def _is_exact(content: bytes, signature) -> bool:
    """The signature itself lies outside of what it signs: it must be written as it was, its padding all zeros."""
    start, length, after, _ = (int(n) for n in signature.byte_range)
    written = content[start + length : after]
    blob = bytes(signature.pkcs7_content)
    header = 2 + (blob[1] & 0x7F if blob[1] & 0x80 else 0)
    size = header + (int.from_bytes(blob[2:header], "big") if header > 2 else blob[1])
    digits = binascii.hexlify(blob)
    return written in (b"<" + digits + b">", b"<" + digits.upper() + b">") and not any(blob[size:])
