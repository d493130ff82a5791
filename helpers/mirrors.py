"""MNIST's four files from the first mirrors that have them: verified, with a least rate and one deadline for all."""

import gzip
import hashlib
import io
import math
import os
import re
import threading
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from helpers.data import DataError

# name of the unpacked IDX file -> SHA-256 of its content, shape of what it holds
MNIST_FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", (60_000, 28, 28)),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", (60_000,)),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", (10_000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", (10_000,)),
}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
AGENT = "Mozilla/5.0 (compatible; normalisation study)"  # some mirrors refuse Python's own name
BUSY = (408, 429, 500, 502, 503, 504)  # answers of a mirror that may do better a moment later
PAUSES = (1.0, 2.0)    # seconds before a busy mirror is asked again
LEAST_RATE = 30_000    # bytes a second
STALL_SECONDS = 8.0    # that a mirror may fall behind that rate, then the next one is asked
WASTED_SECONDS = 15.0  # that all together may fall behind: `auto` must fall back within 20 s
ARCHIVE_BYTES = 11_594_722  # of the four archives
MOST_BYTES = 12_000_000     # of one


class NoMirror(Exception):
    """The message says what each mirror did."""


def download_from_mirrors(names: list[str]) -> dict[str, bytes]:
    """The files from the first mirrors that have them. Raises NoMirror, with what each mirror did."""
    content = {}
    faults = []
    patience = WASTED_SECONDS
    for url in os.environ.get("MNIST_MIRRORS", "").replace(",", " ").split() or MIRRORS:
        if not url.startswith(("http://", "https://")):
            raise DataError(f"MNIST_MIRRORS: got {url!r}, takes addresses that begin with http:// or https://; "
                            "a folder goes into MNIST_DATA_DIR")
        transfer = Transfer(url, [name for name in names if name not in content])
        patience -= follow(transfer, min(patience, STALL_SECONDS))  # with none left, at once
        content |= transfer.content
        if len(content) == len(names):
            return content
        faults.append(f"{url}: {transfer.fault}")
    raise NoMirror(f"no mirror delivers it ({'; '.join(faults)}); "
                    "put its four .gz archives there, or take dataset 'digits'")


class Transfer(threading.Thread):
    """Files from one mirror. A thread: looking up a name, or a dripping header, outlasts any socket timeout."""

    def __init__(self, url: str, names: list[str]):
        super().__init__(daemon=True)
        self.url = url.rstrip("/")
        self.names = names
        self.content: dict[str, bytes] = {}
        self.received = 0  # bytes
        self.fault = ""    # why it ended early
        self.is_wanted = True
        self.start()

    def run(self) -> None:
        try:
            for name in self.names:
                archive = self.receive(f"{self.url}/{name}.gz")
                digest, shape = MNIST_FILES[name]
                unpacked = gzip.GzipFile(fileobj=io.BytesIO(archive))
                content = unpacked.read(math.prod(shape) + 17)  # a header has at most 16 bytes
                if hashlib.sha256(content).hexdigest() != digest:
                    raise OSError(f"sends another {name} than MNIST's (its SHA-256 differs)")
                self.content[name] = content
        except Exception as error:  # whatever a mirror sends, the next one is asked
            text = re.sub(r"[^\w .,:;()/'-]+", " ", str(error))  # a server's words: no escapes, no markup
            self.fault = " ".join(text.split())[:200] or type(error).__name__

    def receive(self, url: str) -> bytearray:
        """The bytes at an address, counted as they come. A busy server is asked again."""
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})
        for pause in (*PAUSES, None):
            try:
                response = urllib.request.urlopen(request, timeout=2 * STALL_SECONDS)
                break
            except urllib.error.HTTPError as error:
                if error.code not in BUSY or pause is None:
                    raise
                time.sleep(pause)
        archive = bytearray()
        with response:
            while self.is_wanted and (chunk := response.read1(2**16)):  # read1 does not wait for all of it
                archive += chunk
                self.received += len(chunk)
                if len(archive) > MOST_BYTES:
                    raise OSError(f"sends more than {MOST_BYTES:,} bytes")
        return archive


def follow(transfer: Transfer, patience: float) -> float:
    """Waits, with a bar, until a transfer ends or is `patience` seconds behind; returns how far it is behind."""
    left = patience
    with tqdm(total=ARCHIVE_BYTES, desc="MNIST", unit="B", unit_scale=True, leave=False, delay=0.5) as bar:
        while transfer.is_alive() and left > 0:
            transfer.join(0.1)
            new = transfer.received - bar.n
            bar.update(new)
            left = min(patience, left - 0.1 + new / LEAST_RATE)
    if transfer.is_alive():
        transfer.is_wanted = False
        rate = f"less than {LEAST_RATE / 1000:g} kB a second" if transfer.received else "nothing"
        transfer.fault = f"sends {rate}"
    return patience - left
