set -e
mkdir -p out
{ echo "<h1>"; cat page.txt; echo "</h1>"; } > out/index.html
echo made index.html
