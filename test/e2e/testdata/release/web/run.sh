echo serving one
exec sleep 100000
