set -e
sleep "$(cat seconds)"
mkdir -p out
echo slow > out/name
