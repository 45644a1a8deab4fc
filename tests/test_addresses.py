"""Paths in object stores: in the memory of this process, and on a server of S3."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hyperfunc
from hyperfunc.commands import main
from hyperfunc.data import open_dataset
from hyperfunc.errors import UserError
from hyperfunc.experiment import Workdir, load_model, mirroring
from hyperfunc.experiment.mirror import _Mirror
from hyperfunc.files import Address, as_path, check_place, read_folder, replacing, save_json
from hyperfunc.images import find_images, read_photo, write_image
from hyperfunc.training import train
from hyperfunc.upscaling import Request, check_places
from tests.batches import plan_batch

UPSCALE = "from hyperfunc.commands import main; import sys; main(sys.argv[1:])"
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def server():
    """The environment with which processes reach a server of S3 on this machine."""
    code = (
        "from moto.server import ThreadedMotoServer as Server\n"
        "server = Server('127.0.0.1', 0, verbose=False); server.start()\n"
        "print(server.get_host_and_port()[1], flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        assert process.stdout
        yield {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(process.stdout.readline())}", **KEYS}
        process.kill()


def make_bucket() -> Address:
    bucket = as_path(f"s3://{os.urandom(4).hex()}")
    assert isinstance(bucket, Address)
    bucket.store.mkdir(bucket.name)
    return bucket


@pytest.fixture(params=["memory", "s3"])
def store(request, monkeypatch):
    """An empty folder in a store."""
    if request.param == "memory":
        folder = as_path(f"memory://{os.urandom(4).hex()}")
    else:
        for name, value in request.getfixturevalue("server").items():
            monkeypatch.setenv(name, value)
        folder = make_bucket() / "here"
    assert isinstance(folder, Address)
    yield folder
    folder.rmtree()


def list_files(folder: Address) -> set[str]:
    """The files below a folder, without hidden ones."""
    paths = (path / name for path, _, names in folder.walk() for name in names)
    names = {"/".join(path.relative_to(folder).parts) for path in paths}
    return {name for name in names if "/." not in f"/{name}"}


def test_an_address_is_a_path():
    path = as_path("s3://bucket/photos/a.png")
    assert isinstance(path, Address) and as_path(path) is path
    assert as_path("s3:/bucket/photos/a.png") == as_path(Path("s3://bucket/photos/a.png")) == path
    assert str(path) == f"{path}" == "s3://bucket/photos/a.png" and str(path.parents[2]) == "s3://"
    assert str(path.parent / "b" / "c.png") == "s3://bucket/photos/b/c.png"
    assert str(path.with_suffix(".jpg")) == "s3://bucket/photos/a.jpg"
    assert str(path.relative_to(path.parents[1])) == "photos/a.png"
    assert path.resolve() == path.absolute() == path.expanduser() == path
    assert as_path("file:///tmp/a") == Path("/tmp/a")
    for local in ("C:/a.png", "C:\\a.png", "a:b/c.png", "./gs:/a", "12:00:/a"):
        assert as_path(local) == Path(local) and not isinstance(as_path(local), Address)


@pytest.mark.parametrize(
    "use",
    [
        open,
        os.listdir,
        os.stat,
        Path.touch,
        lambda path: path.rglob("*"),
        lambda path: path.open("wb"),
        lambda path: list(path.iterdir()),
        lambda path: path.rename("b"),
        lambda path: list(path.glob("*")),
        Workdir,
    ],
)
def test_what_an_address_cannot_do_is_refused(tmp_path, monkeypatch, use):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^memory://bucket/a: is an address, and only local"):
        list(use(as_path("memory://bucket/a")) or ())
    assert not os.listdir(tmp_path)


def test_what_a_store_answers_becomes_one_line(monkeypatch):
    class NoLoginError(Exception):
        pass

    path = as_path("memory://bucket/a.png")
    assert isinstance(path, Address)

    def fail(*_, **__):
        raise NoLoginError("who\nare you?")

    for name in ("cat_file", "put_file", "pipe_file", "ls"):
        monkeypatch.setattr(path.store, name, fail)
    with pytest.raises(UserError, match=r"a.png: cannot be written \(NoLoginError: who are you\?"):
        save_json(path, {})
    with pytest.raises(UserError, match=r"bucket/a.png: cannot be written"):
        check_place(path)
    with pytest.raises(OSError, match="NoLoginError: who are you"):
        read_folder(path)
    with pytest.raises(UserError, match=r"^gs://b/a: cannot be|^gs:// needs the extra 'cloud'"):
        monkeypatch.setitem(sys.modules, "gcsfs", None)
        read_photo("gs://b/a")


def test_empty_objects_that_stand_for_folders_are_left_out(monkeypatch):
    """Consoles make them, and s3fs lists them as files."""
    path = as_path("memory://bucket/run")
    assert isinstance(path, Address)
    listed = [("run/", 0, "file"), ("run/a.png", 5, "file"), ("run/more", 0, "directory")]
    found = [{"name": f"bucket/{name}", "size": n, "type": kind} for name, n, kind in listed]
    monkeypatch.setattr(path.store, "ls", lambda *_, **__: found)
    assert read_folder(path) == {"a.png": 5, "more": None}


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "no"), PermissionError("Forbidden")])
def test_a_store_that_does_not_answer_is_no_bug(monkeypatch, refuse, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(as_path("memory://bucket").store, "info", fail)
    message = refuse(main, "upscale", "memory://bucket/a.png", "b.png", "--scale=2")
    assert f"memory://bucket/a.png: {type(error).__name__}: " in message
    assert "the network and the login" in message


@pytest.mark.slow  # Eight seconds, without a network.
def test_google_is_given_up_within_seconds(start_python):
    began = time.monotonic()
    words = ["upscale", "gs://bucket/a.png", "b.png", "--scale=2"]
    process = start_python(UPSCALE, *words, STORAGE_EMULATOR_HOST="http://127.0.0.1:9")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2 and time.monotonic() - began < 60
    assert "gs://bucket/a.png: ClientConnectorError: Cannot connect to host" in err
    assert "bug" not in err and "Traceback" not in err and "retries" not in err


def test_files_are_replaced_as_a_whole(store):
    place = store / "below" / "a.json"
    assert not place.exists() and not store.is_dir()
    save_json(place, {"a": 1})
    assert json.loads(place.read_text()) == {"a": 1}
    assert place.is_file() and store.is_dir() and not store.is_file()
    status = place.stat()
    assert status.st_size == len(place.read_bytes())
    assert abs(status.st_mtime_ns / 1e9 - time.time()) < 100
    with pytest.raises(ZeroDivisionError), replacing(place) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert json.loads(place.read_text()) == {"a": 1} and list_files(store) == {"below/a.json"}
    check_place(place)
    assert list_files(store) == {"below/a.json"}


def test_images_functions_and_data_of_a_store(store, draw):
    for i in range(3):
        write_image(store / "photos" / f"{i}.png", draw(i, (20, 24)))
    (store / "photos" / "below" / ".hidden.png").write_bytes(b"")
    np.testing.assert_array_equal(read_photo(store / "photos" / "1.png").pixels, draw(1, (20, 24)))
    with pytest.raises(UserError, match="photos/4.png: no such file"):
        read_photo(store / "photos" / "4.png")
    assert [file.member for file in find_images(store / "photos")] == ["0.png", "1.png", "2.png"]

    source = open_dataset(str(store / "photos"))
    assert source.names == ("0", "1", "2")
    np.testing.assert_array_equal(source[2], draw(2, (20, 24)))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", (store / "photos" / "0.png").read_bytes())
    (store / "data" / "train" / "photos.zip").write_bytes(archive.getvalue())
    zipped = open_dataset(str(store / "data" / "train" / "photos.zip"))
    np.testing.assert_array_equal(zipped[0], draw(0, (20, 24)))
    write_image(store / "data" / "set5" / "a.png", draw(5, (20, 24)))
    assert open_dataset("set5", data_dir=str(store / "data")).names == ("a",)
    with pytest.raises(UserError, match="/data/set14: is an address, and only local"):
        open_dataset("set14", data_dir=str(store / "data"))

    image = hyperfunc.represent(store / "photos" / "0.png")
    image.save(store / "a.hfn")
    np.testing.assert_array_equal(
        hyperfunc.load(str(store / "a.hfn")).render(20, 24).shape, (20, 24, 3)
    )


def run_upscale(checkpoint, *words):
    words = [str(word) for word in (*words, "--scale=2", f"--checkpoint={checkpoint}")]
    try:
        main(["upscale", *words])
    except SystemExit as error:
        return error.code
    return 0


def test_a_folder_is_enlarged_from_and_to_a_store(store, trained, draw, capsys):
    for name in ("a.png", "b.jpg", "below/c.png"):
        write_image(store / "in" / name, draw(0, (16, 20)))
    arguments = trained, store / "in", store / "out", f"--report={store}/report.json"
    assert run_upscale(*arguments) == 0 and "3 done, 0 skipped" in capsys.readouterr().out
    assert list_files(store / "out") == {"a.png", "b.jpg", "below/c.png"}
    assert read_photo(store / "out" / "b.jpg").pixels.shape == (32, 40, 3)
    assert json.loads((store / "report.json").read_text())["done"] == 3

    # What is missing is made, and what was changed is refused.
    (store / "out" / "a.png").unlink()
    (store / "out" / "b.jpg").write_bytes(b"something else")
    assert run_upscale(*arguments) == 1
    out, err = capsys.readouterr()
    assert "1 done, 1 skipped, 1 failed" in out and "b.jpg: exists, and hyperfunc did not" in err
    assert run_upscale(*arguments, "--overwrite") == 0
    write_image(store / "in" / "a.png", draw(1, (16, 20)))
    assert run_upscale(*arguments) == 0
    assert "1 again: other settings or another input" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_a_bucket(server, monkeypatch, start_python, trained, draw):
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    bucket = make_bucket()
    for i in range(12):
        write_image(bucket / "in" / f"{i}.png", draw(i, (16, 16)))
    words = ["upscale", str(bucket / "in"), str(bucket / "out"), "--scale=2"]
    process = start_python(UPSCALE, *words, f"--checkpoint={trained}")
    while process.poll() is None and len(list_files(bucket / "out")) < 2:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    left = list_files(bucket / "out")
    process = start_python(UPSCALE, *words, f"--checkpoint={trained}")
    out, err = process.communicate(timeout=400)
    assert f"{12 - len(left)} done, {len(left)} skipped, 0 failed" in out, err
    assert list_files(bucket / "out") == {f"{i}.png" for i in range(12)}


def test_a_bucket_that_is_not_there_is_refused_before_any_work(server, monkeypatch, photos):
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    batch = plan_batch(photos, "s3://none/out", Request(scale=(2.0, 2.0)))
    with pytest.raises(UserError, match=r"^s3://none/out/photo_\d.png: cannot be written \("):
        check_places(batch)


@pytest.mark.slow
def test_a_run_in_a_store_is_killed_and_goes_on(
    server, monkeypatch, flags, experiment, trained, start_python, assert_equal
):
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    bucket = make_bucket()
    workdir = bucket / "runs" / "sr"
    code = (
        "import os, signal, sys, time, train\n"
        "from hyperfunc.experiment import mirror\n"
        "mirror.INTERVAL, upload = 0.2, mirror._Mirror.upload\n"
        "def upload_and_die(self):\n"
        "    upload(self)\n"
        "    if self._uploaded: os.kill(os.getpid(), signal.SIGKILL)\n"
        "mirror._Mirror.upload = upload_and_die\n"
        "train.main(sys.argv[1:])"
    )
    process = start_python(code, f"--workdir={workdir}", *flags)
    _, err = process.communicate(timeout=400)
    assert process.returncode == -signal.SIGKILL, err
    assert load_model(str(workdir)).step in (2, 4)
    # What was not uploaded as a whole does not count.
    (workdir / "checkpoints" / "3" / "config" / "metadata").write_bytes(b"{}")
    assert load_model(workdir).step in (2, 4)

    resumed = train(experiment, workdir)
    assert_equal(train(experiment, trained), resumed)
    for step in (2, 4):
        model = load_model(workdir, step=step)
        assert_equal(load_model(trained, step=step).variables, model.variables)
        assert model.path == workdir and model.step == step
    assert {"checkpoints/2/config/metadata", "metrics.jsonl"} <= list_files(workdir)
    assert not any(name.startswith("checkpoints/3/") for name in list_files(workdir))
    lines = [json.loads(x)["step"] for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4]
    assert load_model(f"{workdir}/checkpoints/2").step == 2
    with pytest.raises(UserError, match=rf"^{workdir} holds no checkpoint of step 5"):
        load_model(workdir, step=5)


def test_old_checkpoints_are_removed_and_errors_name_the_workdir(monkeypatch):
    monkeypatch.setattr("hyperfunc.experiment.mirror.INTERVAL", 0.01)
    workdir = as_path("memory://mirrored/run")
    assert isinstance(workdir, Address)
    with mirroring(workdir) as folder:
        for step in ("1", "2"):
            (folder / "checkpoints" / step).mkdir(parents=True)
            (folder / "checkpoints" / step / "data").write_text(step)
    assert list_files(workdir) == {"checkpoints/1/data", "checkpoints/2/data"}
    with (
        pytest.raises(UserError, match="^memory://mirrored/run/a: bad"),
        mirroring(workdir) as folder,
    ):
        assert (folder / "checkpoints" / "2" / "data").read_text() == "2"
        for path in (folder / "checkpoints" / "1" / "data", folder / "checkpoints" / "1"):
            path.unlink() if path.is_file() else path.rmdir()
        raise UserError(f"{folder}/a: bad")
    assert list_files(workdir) == {"checkpoints/2/data"}
    with pytest.raises(UserError, match="several processes need"), mirroring(workdir, processes=2):
        pytest.fail("it is refused")


def test_a_mistake_while_uploading_is_logged_and_tried_again(monkeypatch, caplog):
    monkeypatch.setattr("hyperfunc.experiment.mirror.INTERVAL", 0.01)
    workdir, list_others, calls = as_path("memory://mistaken/run"), _Mirror._list_others, []

    def fail_once(self):
        calls.append(None)
        if len(calls) == 2:  # The first call is that of the download.
            raise TypeError("ours")
        return list_others(self)

    monkeypatch.setattr(_Mirror, "_list_others", fail_once)
    with mirroring(workdir) as folder:
        until = time.monotonic() + 10
        while len(calls) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        (folder / "a").write_text("1")
    assert len(calls) >= 4 and list_files(workdir) == {"a"}
    assert "TypeError: ours" in caplog.text and "trying again" in caplog.text


def test_what_cannot_be_uploaded_is_kept(monkeypatch):
    workdir = as_path("memory://failing/run")
    assert isinstance(workdir, Address)

    def fail(self, file):
        raise OSError(5, "the store is gone")

    with pytest.raises(UserError, match=r"the store is gone.*what is new is in /") as refused:
        with mirroring(workdir) as folder:
            folder.mkdir(exist_ok=True)
            (folder / "metrics.jsonl").write_text("{}")
            monkeypatch.setattr(Address, "upload", fail)
    place = Path(str(refused.value).rpartition(" ")[2])
    assert (place / "metrics.jsonl").read_text() == "{}"


def test_local_paths_import_no_store():
    code = "import sys; from hyperfunc.files import as_path; as_path('/a').exists()"
    code += "; assert 'fsspec' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
