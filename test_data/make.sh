#!/bin/sh
# Makes the three recordings beside this file anew. Needs ffmpeg with libx264; the bytes may differ between versions.
set -eu
cd "$(dirname "$0")"

make() { # NAME OPTION…
    name=$1
    shift
    ffmpeg -nostdin -v error -y \
        -f lavfi -i testsrc=size=160x120:rate=25:duration=2 \
        -f lavfi -i sine=frequency=440:sample_rate=48000:duration=2 \
        -map 0:v -map 1:a -map_metadata -1 \
        -c:v libx264 -preset medium -threads 1 -g 25 -pix_fmt yuv420p -c:a aac -b:a 64k -ac 1 \
        -flags:v +bitexact -flags:a +bitexact -fflags +bitexact \
        "$@" -f mp4 "$name"
}

make sample.mp4
make sample_faststart.mp4 -movflags +faststart
make sample_fragmented.mp4 -movflags +frag_keyframe+empty_moov+default_base_moof
ls -l ./*.mp4
