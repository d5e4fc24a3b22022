echo "$1"; pwd; id -un; echo result > task.out; mkdir made; echo other > made/file; echo none > not-taken
