# A signal that was ignored when the program started stays ignored.
mkfifo fifo
exec 3<>fifo
(
    trap '' INT TERM
    exec "$FMPATCH" verify - <fifo 2>err.txt 3>&-
) &
pid=$!
sleep 0.5
kill -INT $pid
kill -TERM $pid
echo 'not a patch' >&3
exec 3>&-
wait $pid && s=0 || s=$?
echo "= $s"
cat err.txt
