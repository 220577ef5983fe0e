module example.test/api

go 1.21
