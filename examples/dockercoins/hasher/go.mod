module dockercoins/hasher

go 1.26
