module raftx/bench/peers/loop

go 1.21
