"""The built layers: for the target's machine and Python, complete on their own, compiled, and free of dead weight."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.lambda_ import built

# importlib.util.MAGIC_NUMBER of the released versions ("Include/internal/pycore_magic_number.h", first two bytes).
DEAD_WEIGHT = ["rich", "typer", "prompt_toolkit", "uvicorn", "boto3", "hector/cli", "hector/emulator", "hector/testing"]
PYC_MAGIC = {"3.11": 3495, "3.12": 3531, "3.13": 3571}


def load_build_layer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_layer", built.ROOT / "layers" / "build_layer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_layer"] = module
    spec.loader.exec_module(module)
    return module


build_layer = load_build_layer()


@pytest.fixture(scope="session")
def layers(built_template: Path) -> Path:
    return built_template.parent


def run_alone(code: str, *folders: Path) -> str:
    """Runs code with nothing but the standard library and these folders, as on Lambda."""
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin"}
    result = subprocess.run([python, "-S", "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_packages_are_complete_on_their_own(layers: Path) -> None:
    hector, streaming = layers / "HectorLayer" / "python", layers / "ResponseStreamingLayer" / "python"
    run_alone("import hector.wiring, hector.web.server, hector.web.apps, mangum", hector)
    run_alone("import response_streaming.runtime", streaming)
    verify = """
import jwt, oidc
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
keys = [
    (RSAAlgorithm, rsa.generate_private_key(65537, 2048), "RS256"),
    (ECAlgorithm, ec.generate_private_key(ec.SECP256R1()), "ES256"),
    (OKPAlgorithm, ed25519.Ed25519PrivateKey.generate(), "EdDSA")]
for algorithm, key, name in keys:
    public = jwt.PyJWK.from_json(algorithm.to_jwk(key.public_key()))
    print(jwt.decode(jwt.encode({"sub": name}, key, algorithm=name), public, algorithms=oidc.issuer.ALGORITHMS)["sub"])
"""
    assert run_alone(verify, layers / "AuthorizerLayer" / "python").split() == ["RS256", "ES256", "EdDSA"]


def test_the_trimmed_aws_sdk_still_signs_and_finds_its_endpoints(layers: Path) -> None:
    code = """
import botocore.session
session = botocore.session.Session()
session.set_credentials("key", "secret")
client = session.create_client("dynamodb", region_name="eu-central-1")
request = client._request_signer.generate_presigned_url(
    {"url": client.meta.endpoint_url, "method": "GET", "headers": {}, "body": b"", "url_path": "/", "context": {}},
    "DescribeTable")
print(request.split("?")[0], "Signature" in request)
print(session.create_client("sts", region_name="cn-north-1").meta.endpoint_url)
for service in ("s3", "sqs", "ssm", "bedrock-runtime"):
    session.create_client(service, region_name="eu-central-1")
"""
    lines = run_alone(code, layers / "HectorLayer" / "python").split()
    assert lines == ["https://dynamodb.eu-central-1.amazonaws.com", "True", "https://sts.cn-north-1.amazonaws.com.cn"]


def test_the_wrapper_is_executable(layers: Path) -> None:
    assert os.access(layers / "ResponseStreamingLayer" / "response-streaming", os.X_OK)


def test_sizes_and_dead_weight(layers: Path) -> None:
    files = [path for path in layers.glob("*Layer/**/*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6, "250 MB unzipped is Lambda's limit"
    assert not [path for path in files if path.suffix == ".pyi" or path.name == "RECORD"]
    services = {path.name for path in (layers / "HectorLayer/python/botocore/data").glob("*/")}
    assert services == {"bedrock-runtime", "dynamodb", "s3", "sqs", "ssm", "sso", "sso-oidc", "sts"}
    layer = layers / "HectorLayer" / "python"
    for package in DEAD_WEIGHT:
        assert not (layer / package).exists(), f"{package} is for laptops"
    packages = list((layers / "HectorLayer" / "python").glob("*.dist-info"))
    assert packages
    licences = [path for path in packages if [*path.rglob("LICEN[SC]E*"), *path.rglob("COPYING*")]]
    assert len(licences) > len(packages) * 0.8, "licences are kept where the wheels carry them"


def test_every_module_is_compiled_and_never_checked_against_its_source(layers: Path) -> None:
    sources = list(layers.glob("*Layer/python/**/*.py"))
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    assert len(sources) > 500
    missing = []
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-{version}.pyc"
        if not compiled.exists():
            missing.append(source)
            continue
        head = compiled.read_bytes()[:8]
        assert head[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(head[4:8], "little") == 0b01, f"{compiled}: not an unchecked-hash .pyc"
    assert not missing


@pytest.mark.parametrize("layer", ["hector", "response_streaming", "authorizer"])
def test_the_default_target_is_built_for_its_own_machine_and_python(layer: str, tmp_path: Path) -> None:
    target = build_layer.Target.read(built.ROOT / "layers" / "targets" / "python3.13-arm64")
    line = build_layer.build(built.ROOT / "layers" / layer, target, tmp_path / "out", build_layer.Choices(["dynamodb"]))
    libraries = list(tmp_path.rglob("*.so*"))
    assert libraries
    for library in libraries:
        assert int.from_bytes(library.read_bytes()[18:20], "little") == 183, f"{library} is not for aarch64"
    compiled = list(tmp_path.rglob("*.pyc"))
    if build_layer.find_python("3.13") is None:
        assert "WITHOUT .pyc" in line
        assert not compiled
    else:
        assert compiled
        assert {int.from_bytes(path.read_bytes()[:2], "little") for path in compiled} == {PYC_MAGIC["3.13"]}


def test_targets_cover_what_the_template_allows() -> None:
    from tests.lambda_.stack import source

    parameters = source()["Parameters"]
    for runtime in parameters["PythonRuntime"]["AllowedValues"]:
        for architecture in parameters["Architecture"]["AllowedValues"]:
            folder = built.ROOT / "layers" / "targets" / f"{runtime}-{architecture}"
            content = json.loads((folder / "target.json").read_text())
            assert content["python"] == runtime.removeprefix("python")
            assert content["machine"] == {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]


def test_environment_markers_mean_the_target_and_not_this_machine() -> None:
    target = build_layer.Target("3.12", "aarch64", (2, 34))
    text = """# a comment
plain==1
old==1 ; python_version < "3.12"
new==1 ; python_full_version >= "3.12" \\
    --hash=sha256:00
windows==1 ; sys_platform == "win32"
here==1 ; platform_machine == "aarch64"
"""
    assert list(build_layer.choose(text, target)) == ["plain==1", "new==1  --hash=sha256:00", "here==1"]


def test_a_missing_python_is_said_and_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_layer, "find_python", lambda version: None)
    assert "WITHOUT .pyc files (no python3.12 on PATH)" in build_layer.compile_all(
        tmp_path, build_layer.Target("3.12", "x86_64", (2, 34))
    )


def test_a_library_for_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.so").write_bytes(b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little"))
    with pytest.raises(build_layer.BuildError, match=r"wrong.so is for x86_64, the layer is for aarch64"):
        build_layer.check(tmp_path, build_layer.Target("3.13", "aarch64", (2, 34)))


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(build_layer.BuildError, match=r"python3\.13-arm64"):
        build_layer.Target.read(Path("python2.7-arm64"))


def test_extras_are_added_for_who_asks(tmp_path: Path) -> None:
    target = build_layer.Target.read(built.ROOT / "layers" / "targets" / f"{built.RUNTIME}-{built.ARCHITECTURE}")
    layer = tmp_path / "layer"
    (layer / "extras").mkdir(parents=True)
    (layer / "requirements.txt").write_text("six==1.17.0\n")
    (layer / "extras" / "redis.txt").write_text((built.ROOT / "layers/hector/extras/redis.txt").read_text())
    build_layer.build(layer, target, tmp_path / "plain", build_layer.Choices())
    assert not (tmp_path / "plain/python/redis").exists()
    build_layer.build(layer, target, tmp_path / "more", build_layer.Choices(extras=["redis"]))
    run_alone("import redis.asyncio", tmp_path / "more" / "python")
    with pytest.raises(build_layer.BuildError, match=r"postgres\.txt is missing.*Extras there: redis"):
        build_layer.build(layer, target, tmp_path / "none", build_layer.Choices(extras=["postgres"]))


def test_what_is_left_out_has_to_be_there(tmp_path: Path) -> None:
    target = build_layer.Target.read(built.ROOT / "layers" / "targets" / f"{built.RUNTIME}-{built.ARCHITECTURE}")
    choices = build_layer.Choices(without=["mangum/nothing"])
    with pytest.raises(build_layer.BuildError, match="no mangum/nothing"):
        build_layer.build(built.ROOT / "layers" / "response_streaming", target, tmp_path / "out", choices)


def test_sizes_are_told(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(3_000_000))
    assert build_layer.sizes(tmp_path).startswith("3.0 MB, zipped 0.0 MB")


@pytest.mark.parametrize("extra", ["anthropic", "redis"])
def test_extras_agree_with_the_layer_on_what_both_pin(extra: str) -> None:
    def pins(file: str) -> dict[str, str]:
        lines = (built.ROOT / "layers" / "hector" / file).read_text().splitlines()
        return {line.split("==")[0]: line.split(" ")[0] for line in lines if "==" in line}

    ours, theirs = pins("requirements.txt"), pins(f"extras/{extra}.txt")
    assert {name: theirs[name] for name in ours.keys() & theirs.keys()} == {
        name: ours[name] for name in ours.keys() & theirs.keys()
    }
