"""``mriseg sign``: real keys, a real PDF, a real terminal that is asked for the passphrase."""

import os
import pty
import sys
import time

import pytest
from key_files import write_key

from LongitudinalCompareLib.reporting.pdf import write_pdf
from MRISegSuiteLib.cli.main import main
from MRISegSuiteLib.reports.html_report import Report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pdf = write_pdf(folder / "report.pdf", {"measurements": [], "warnings": []}, Report("Comparison"))
    return pdf, write_key(folder / "reader.p12")


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs ``mriseg sign`` with a passphrase in the environment (None: without); (exit code, what was said)."""

    def run(*arguments, passphrase="secret"):
        monkeypatch.delenv("MRISEG_KEY_PASSPHRASE", raising=False)
        if passphrase is not None:
            monkeypatch.setenv("MRISEG_KEY_PASSPHRASE", passphrase)
        code = main(["sign", *map(str, arguments)])
        said = capsys.readouterr()
        assert "secret" not in said.out + said.err
        return code, said.out + said.err

    return run


def test_a_signed_report_is_valid_until_a_byte_changes(made, call, tmp_path):
    pdf, key = made
    before = pdf.read_bytes()
    signed = tmp_path / "signed.pdf"
    code, said = call(pdf, "--key", key, "--reason", "Approved by the board", "--out", signed)
    assert code == 0 and "Dr. A. Reader" in said and str(signed) in said
    assert pdf.read_bytes() == before and b"Approved by the board" in signed.read_bytes()
    code, said = call(signed, "--check")
    assert code == 0 and "signed by Dr. A. Reader" in said and "not a byte has changed" in said
    content = bytearray(signed.read_bytes())
    content[len(before) // 2] ^= 1
    damaged = tmp_path / "damaged.pdf"
    damaged.write_bytes(bytes(content))
    code, said = call(damaged, "--check")
    assert code == 1 and "NOT" in said
    code, said = call(pdf, "--check")
    assert code == 1 and "not signed" in said
    # a second signature on top is refused, and leaves the first as it is
    content = signed.read_bytes()
    code, said = call(signed, "--key", key)
    assert code == 2 and "signed already" in said and signed.read_bytes() == content


def test_by_default_the_report_itself_is_signed(made, call, tmp_path):
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(made[0].read_bytes())
    key = write_key(tmp_path / "open.p12", "Dr. B. Reader", passphrase="")
    assert call(pdf, "--key", key, passphrase="")[0] == 0
    assert "Dr. B. Reader" in call(pdf, "--check")[1]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["open.p12", "report.pdf"]


def test_what_is_wrong_is_told(made, call, tmp_path):
    pdf, key = made
    before = pdf.read_bytes()
    (tmp_path / "no.pdf").write_text("hello")
    (tmp_path / "no.p12").write_text("hello")
    alone = write_key(tmp_path / "certificate.p12", with_key=False)
    for arguments, passphrase, words in [
        ([pdf, "--key", key], "wrong", "passphrase is wrong"),
        ([pdf, "--key", key], None, "MRISEG_KEY_PASSPHRASE"),  # no terminal here
        ([pdf, "--key", tmp_path / "none.p12"], "secret", "none.p12 does not exist"),
        ([pdf, "--key", tmp_path / "no.p12"], "secret", "no PKCS#12 key file"),
        ([pdf, "--key", alone], "secret", "no private key"),
        ([tmp_path / "no.pdf", "--key", key], "secret", "is no PDF"),
        ([tmp_path / "no.pdf", "--check"], None, "is no PDF"),
        ([tmp_path / "none.pdf", "--check"], None, "cannot be read"),
        ([pdf, "--key", key, "--out", tmp_path / "none" / "signed.pdf"], "secret", "cannot be written"),
        ([pdf], None, "Either --key or --check"),
        ([pdf, "--key", key, "--check"], None, "Either --key or --check"),
        ([pdf, "--check", "--reason", "x"], None, "belong to --key"),
    ]:
        code, said = call(*arguments, passphrase=passphrase)
        assert code == 2 and words in said and "Traceback" not in said, (arguments, said)
    assert pdf.read_bytes() == before


def test_a_terminal_is_asked_and_shows_no_passphrase(made, repository, tmp_path):
    signed = tmp_path / "signed.pdf"
    script = str(repository / "MRISegSuite" / "Scripts" / "mriseg.py")
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("MRISEG_KEY_PASSPHRASE", None)
        command = [sys.executable, script, "sign", str(made[0]), "--key", str(made[1]), "--out", str(signed)]
        os.execv(command[0], command)
    said, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the process has ended
            break
        if not part:
            break
        said += part
        if b"Passphrase of reader.p12" in said and b"\n" not in said:
            os.write(terminal, b"secret\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said
    assert b"Passphrase" in said and b"secret" not in said and b"Signed by Dr. A. Reader" in said
    assert signed.is_file()
