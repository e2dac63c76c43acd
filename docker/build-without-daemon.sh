#!/usr/bin/env bash
# Build the image where there is no Docker daemon, with buildah, and run its reproduction.
# Needs root and Debian's buildah and debootstrap. Behind a proxy with a certificate of its own, CA names its file.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${TAG:-inc-tf}
base=docker.io/library/debian:bookworm-slim
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! buildah inspect "$base" >/dev/null 2>&1; then
  debootstrap --variant=minbase bookworm "$work/root"
  container=$(buildah from scratch)
  buildah copy --quiet "$container" "$work/root" /
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah commit --quiet --rm "$container" "$base"
fi

certificate=()
if [ -n "${CA:-}" ]; then
  certificate=(--volume "$CA:/run/host-ca.crt:ro" --build-arg PIP_CERT=/run/host-ca.crt)
fi
buildah bud --format docker --isolation chroot --pull-never "${certificate[@]}" --tag "$tag" .

container=$(buildah from --pull-never "$tag")
trap 'buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
buildah run --isolation chroot "$container" -- inc reproduce figure_3 "$@"
