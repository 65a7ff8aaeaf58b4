"""ash-explorer: check what is named, start the explorer's server, open the browser at it."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from ash import plugins
from ash.commands.shared import Command
from ash.errors import AshError
from ash.features.places import HEAD, is_folder_of_features
from ash.models import get_model
from ash.shipped import HOME

FIRST_PORT, PORTS = 8501, 100
PATIENCE = 120.0  # seconds until a server that has not answered is not waited for any more
ADDRESS = "localhost"
OUTSIDE = ("192.0.2.1", 9)  # an address that is kept free for examples (RFC 5737): nothing is sent to it
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--port", type=click.IntRange(1, 65535), help=f"[default: the first free one from {FIRST_PORT}]")
@click.option("--plugins", "files", type=_FILE, multiple=True, help="a file with models, data sets, methods; repeat")
@click.option("--data", type=_FOLDER, help="the data root [default: ASH_DATA]")
@click.option("--features", type=_FOLDER, multiple=True, help="a folder of features, opened at once; repeat")
@click.option("--room", is_flag=True, help="for a class: serve this machine's network too, with a QR code in Share")
@click.option("--no-browser", is_flag=True, help="start the server alone")
@click.argument("streamlit", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF STREAMLIT]")
def main(
    port: int | None,
    files: Iterable[Path],
    data: Path | None,
    features: tuple[Path, ...],
    room: bool,
    no_browser: bool,
    streamlit: tuple[str, ...],
) -> None:
    """Start the explorer on this machine, from any folder, and open it in the browser.

    What is named is checked first; a fault ends it with a sentence. Ctrl+C stops the server.
    """
    if data is not None:
        os.environ["ASH_DATA"] = str(data.absolute())
    _name_plugins([*files, *features])
    for folder in features:
        _check(folder)
    own = _own_addresses() if room else []
    listens = "0.0.0.0" if room else ADDRESS
    if port is not None and not _is_free(port, listens):
        raise AshError(f"Port {port} is in use, or not yours to use: name another with --port, or leave it out.")
    port = port or _free_port(listens)
    query = f"?{urllib.parse.urlencode({'model': features[0].resolve().name})}" if features else ""
    home = f"http://{[*own, ADDRESS][0]}:{port}"
    url = f"{home}/{query}"
    options = ("--server.port", str(port), "--server.headless", "true", *(_open_room(home, own) if room else ()))
    options += streamlit
    with _server(options) as server:
        if _answers(server, port):
            click.echo(f"ASH explorer: {url} (Ctrl+C stops it)")
            if not no_browser:
                webbrowser.open(url)
        sys.exit(server.wait())


def _name_plugins(paths: list[Path]) -> None:
    """Add files and folders to those that ASH_PLUGINS names, for this process and the server."""
    named = [os.environ[plugins.VARIABLE]] if os.environ.get(plugins.VARIABLE) else []
    if named or paths:
        os.environ[plugins.VARIABLE] = os.pathsep.join([*named, *(str(path.resolve()) for path in paths)])


def _check(folder: Path) -> None:
    """Read a folder of features, and say what is in it; AshError for what is wrong with it."""
    if not is_folder_of_features(folder):
        raise AshError(f"{folder} is no folder of features: it has neither {HEAD} nor id.npz or id.npy.")
    name = folder.resolve().name
    if why := next((str(one) for one in plugins.problems() if one.file == folder.resolve()), ""):
        raise AshError(f"{why}.")
    found = get_model(name).features
    assert found is not None
    classes, width = found.head.weight.shape
    sets = ", ".join(f"{part} {len(one):,}" for part, one in found.sets.items())
    click.echo(f"{name}: {width:,} features, {classes:,} classes; {sets} rows")


def _open_room(home: str, own: list[str]) -> tuple[str, ...]:
    """Streamlit's options for a room of this address, whose machine goes by these; the rest is set for the server.

    Whatever was set before, nobody in the room writes to this machine's disk or has it fetch anything.
    """
    os.environ.update(ASH_ROOM=home, ASH_LIBRARY="off", ASH_COMPUTE="off")
    click.echo("Open to everyone in this machine's network, without a log-in. Library and computing are off.")
    hosts = [word for one in (ADDRESS, "127.0.0.1", *own) for word in ("--server.allowedHosts", one)]
    return ("--server.address", "0.0.0.0", "--browser.serverAddress", own[0], *hosts)


def _own_addresses() -> list[str]:
    """The IPv4 addresses of this machine in its networks, the one that leads out first; AshError for none."""
    found = []
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(OUTSIDE)
        found.append(one.getsockname()[0])
    with suppress(OSError):
        found += socket.gethostbyname_ex(socket.gethostname())[2]
    found = [one for one in dict.fromkeys(found) if not ipaddress.ip_address(one).is_loopback]
    if not found:
        raise AshError("This machine is in no network, so there is no room to serve: connect it, or leave out --room.")
    return found


def _is_free(port: int, address: str = ADDRESS) -> bool:
    """Whether nobody listens on a port of an address, and this process may."""
    with suppress(OSError), socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does
        one.bind((address, port))
        return True
    return False


def _free_port(address: str) -> int:
    """The first port of an address that nobody listens on; AshError where there is none."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if _is_free(port, address):
            return port
    raise AshError(f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are in use: name another with --port.")


@contextmanager
def _server(options: tuple[str, ...]) -> Iterator["subprocess.Popen[bytes]"]:
    """The server as a process, which ends when this one does."""
    entry = HOME / "app" / "main.py"
    if not entry.is_file():
        raise AshError(f"The explorer's pages are not in {HOME}: install it again.")

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", str(entry), *options])
    try:
        yield server
    except KeyboardInterrupt:  # the terminal has told the server as well
        server.wait()
        sys.exit(130)
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until the server answers; False where it ends before, or does not within PATIENCE."""
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"http://{ADDRESS}:{port}/_stcore/health", timeout=5).close()
            return True
        time.sleep(0.1)
    return False
