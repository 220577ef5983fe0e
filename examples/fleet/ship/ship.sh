trap 'exit 0' TERM
echo "$NAME sails"
while :; do sleep 1; done
