#!/bin/sh
# lambda_image.sh [PYTHON]        such as 3.11; by default, the Python of .venv
# Have the image here that `sam local` runs functions in. It is AWS's, if it can be pulled. Where it cannot, a stand-in
# is built of packages of Debian and PyPI, with the same places in it: /var/runtime/bootstrap starts AWS's runtime
# client, /var/task is the code, /opt the layers. It is for trying out functions, not for building native code.
set -eu

cd "$(dirname "$0")/.."
python=${1:-$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
case $(uname -m) in
    x86_64 | amd64) architecture=x86_64 ;;
    aarch64 | arm64) architecture=arm64 ;;
    *) echo "Lambda has no image for $(uname -m)." >&2 && exit 1 ;;
esac
image=public.ecr.aws/lambda/python:$python-$architecture

docker info >/dev/null 2>&1 || { echo "Docker does not run on this machine: install it, start it, and try again." >&2; exit 1; }
docker image inspect "$image" >/dev/null 2>&1 && exit 0
if timeout 300 docker pull -q "$image" >/dev/null 2>&1; then
    echo "Pulled $image" >&2
    exit 0
fi

case $python in
    3.11) suite=bookworm ;;
    3.13) suite=trixie ;;
    *) echo "$image cannot be pulled, and no Debian release has Python $python: take 3.11 or 3.13." >&2 && exit 1 ;;
esac
[ "$(id -u)" = 0 ] || { echo "$image cannot be pulled; to build a stand-in, run this as root: $0 $python" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "$image cannot be pulled; to build a stand-in: apt install debootstrap" >&2; exit 1; }
echo "$image cannot be pulled: building a stand-in of Debian $suite" >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mirror=$(sed -n 's/^URIs: *//p; s/^deb  *\(\[[^]]*\] \)\{0,1\}\(http[^ ]*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)
mirror=${DEBIAN_MIRROR:-$mirror}
[ -n "$mirror" ] || { echo "No Debian mirror is named in /etc/apt: say one with DEBIAN_MIRROR." >&2; exit 1; }
debootstrap --variant=minbase --include="python$python,ca-certificates" "$suite" "$root" \
    "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }

mkdir -p "$root/var/lang/bin" "$root/var/runtime" "$root/var/task" "$root/opt"
for name in python3 "python$python"; do
    ln -s "/usr/bin/python$python" "$root/var/lang/bin/$name"
done
.venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
    --only-binary=:all: --implementation cp --python-version "$python" --platform "manylinux2014_$(uname -m)" \
    --constraint requirements/dev.lock --target "$root/var/runtime" awslambdaric boto3

cat >"$root/var/runtime/start.py" <<'PYTHON'
import os
import sys

# As on Lambda: the function's own modules first, then the layers', then this folder's.
sys.path[:0] = [os.environ.get("LAMBDA_TASK_ROOT", "/var/task"), "/opt/python"]

from awslambdaric.__main__ import main

main([sys.argv[0], os.environ["_HANDLER"]])
PYTHON
cat >"$root/var/runtime/bootstrap" <<SHELL
#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python$python
exec \${AWS_LAMBDA_EXEC_WRAPPER:-} /var/lang/bin/python$python /var/runtime/start.py
SHELL
chmod 755 "$root/var/runtime/bootstrap"

rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/doc "$root"/usr/share/locale "$root"/usr/share/man
tar -C "$root" -c . | docker import \
    --change 'ENTRYPOINT ["/var/runtime/bootstrap"]' --change 'WORKDIR /var/task' \
    --change 'ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=C.UTF-8 PATH=/var/lang/bin:/usr/bin:/bin:/opt/bin' \
    - "$image" >/dev/null
echo "Built $image" >&2
