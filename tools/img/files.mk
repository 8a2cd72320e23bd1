tool-img += tools/img/main.o tools/img/args.o tools/img/common.o tools/output.o tools/img/progress.o
tool-img += tools/img/amend.o tools/img/bench.o tools/img/bitmap.o tools/img/check.o tools/img/commit.o
tool-img += tools/img/compare.o tools/img/convert.o tools/img/copy.o tools/img/create.o tools/img/dd.o tools/img/info.o
tool-img += tools/img/map.o tools/img/measure.o tools/img/rebase.o tools/img/resize.o tools/img/snapshot.o
