module modelgarden.dev/hack/tools/pause

go 1.26
