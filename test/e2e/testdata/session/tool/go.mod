module example.test/tool

go 1.21
