# Makes web/srv/out.txt.
echo "generating"
if grep -q broken in/source.txt; then
    echo "in/source.txt:1: it is broken"
    exit 3
fi
sed 's/^/made of /' in/source.txt > web/srv/out.txt
