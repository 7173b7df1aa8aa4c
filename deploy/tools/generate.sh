#!/bin/bash
# Writes what is generated from proto/jotsmith: *.pb.go beside each proto, the
# config file's JSON Schema, its reference, the OpenAPI document, and the code of each
# client library that says in its clients/LANG/run, `# generated: DIR`, where it has it.
# With --check it writes nothing and fails when the working tree holds anything else
# than what would be written.
#
# Run by `make generate` and `make check-generated`, which build the tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/bin:$PATH"

config_schema=cmd/internal/config/config.schema.json
config_doc=docs/config.md
openapi=service/httpjson/openapi.json

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
buf generate --template proto/buf.gen.yaml --path proto/jotsmith -o "$fresh"

# The layout of the tree: generated file, then its place.
mkdir -p "$fresh/tree/proto" "$fresh/tree/$(dirname "$config_schema")" "$fresh/tree/$(dirname "$config_doc")" "$fresh/tree/$(dirname "$openapi")"
mv "$fresh/proto/jotsmith" "$fresh/tree/proto/"

go build -o "$fresh/configdoc" ./cmd/internal/configdoc
"$fresh/configdoc" schema <"$fresh/schema/jotsmith.config.v1.Config.schema.bundle.json" >"$fresh/tree/$config_schema"
buf build --path proto/jotsmith/config --as-file-descriptor-set -o "$fresh/config.binpb"
"$fresh/configdoc" page <"$fresh/config.binpb" >"$fresh/tree/$config_doc"

buf build --path proto/jotsmith/v1 --as-file-descriptor-set -o "$fresh/api.binpb"
go run ./cmd/internal/openapi "$fresh/json" <"$fresh/api.binpb" >"$fresh/tree/$openapi"

# Of every other language, by its own pinned tools.
generated=()
for run in clients/*/run; do
	dir=$(sed -n 's/^# generated: //p' "$run")
	if [ -n "$dir" ]; then
		generated+=("./$(dirname "$run")/$dir")
		mkdir -p "$fresh/tree/${generated[-1]}"
		"$run" generate "$fresh/tree/${generated[-1]}"
	fi
done

# Both lists, so that the output of a proto that is gone counts as drift.
{
	(cd "$fresh/tree" && find . -type f)
	find ./proto -name '*.pb.go'
	if [ ${#generated[@]} -gt 0 ]; then
		git ls-files -- "${generated[@]}" | sed 's,^,./,'
	fi
} | sort -u >"$fresh/files"

drift=0
while read -r file; do
	if cmp -s "$fresh/tree/$file" "$file"; then
		continue
	fi
	drift=1
	if [ "${1-}" = --check ]; then
		echo "${file#./} is not what its proto generates" >&2
	elif [ -e "$fresh/tree/$file" ]; then
		mkdir -p "$(dirname "$file")"
		cp "$fresh/tree/$file" "$file"
		echo "wrote ${file#./}"
	else
		rm "$file"
		echo "removed ${file#./}"
	fi
done <"$fresh/files"

if [ "${1-}" = --check ] && [ "$drift" = 1 ]; then
	echo "run: make generate, and commit what it writes" >&2
	exit 1
fi
