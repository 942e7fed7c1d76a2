#!/bin/sh
# sh start.sh LIST USERS OWNER COMMAND…: writes the list of users to USERS, with the passwords of the environment filled
# in, for OWNER's eyes only, then becomes the store. USERS lies in memory, so that no password is on a disk. The demo's
# well-known passwords are for TOKENOUTPUT_ENV=dev only; nobody else would refuse the administrator's.
set -eu

list=$1 users=$2 owner=$3
shift 3

(
  umask 077
  awk '
    /^#/ { next }
    {
      line = ""
      while (match($0, /@[A-Z_]+@/)) {
        name = substr($0, RSTART + 1, RLENGTH - 2)
        if (ENVIRON[name] !~ /^[A-Za-z0-9._~-]+$/) {
          print name " is missing, or has more than letters and digits in it" > "/dev/stderr"
          exit 1
        }
        if (ENVIRON[name] ~ /dev-only/ && ENVIRON["TOKENOUTPUT_ENV"] != "dev") {
          print name " is the well-known one of the demo; make your own" > "/dev/stderr"
          exit 1
        }
        line = line substr($0, 1, RSTART - 1) ENVIRON[name]
        $0 = substr($0, RSTART + RLENGTH)
      }
      print line $0
    }
  ' "$list" >"$users"
)
chown "$owner" "$users"
exec "$@"
