# Closed standard descriptors, a full device and no argv[0] neither crash nor pass for success.
t sh -c '"$FMPATCH" --version >&-'
t sh -c '"$FMPATCH" --version >/dev/full'
t sh -c '"$FMPATCH" create --help >/dev/full'
t sh -c '"$FMPATCH" frob 2>&-'
t sh -c '"$FMPATCH" --version <&- 2>&-'
cat >none.py <<'END'
import ctypes, os
path = os.environ["FMPATCH"].encode()
ctypes.CDLL(None).execv(path, (ctypes.c_char_p * 1)(None))
END
python3 none.py 2>usage.txt && s=0 || s=$?
echo "= $s"
head -n 1 usage.txt
