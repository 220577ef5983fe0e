# A server that is ready when the file "go" is there, and ends when "die" is.
trap 'echo ending; rm -f pid; exit 0' TERM
echo $$ > pid
echo starting
while [ ! -e go ]; do sleep 0.05; done
echo listening
while [ ! -e die ]; do sleep 0.05; done
rm die
echo dying
exit 7
