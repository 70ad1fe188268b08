"""The steps in Redis: each is one Lua script, done whole, that repeats the nonce of its exchange in its answer.

A transaction cannot decide. A script looks first whose record it is and what was written last, and changes nothing
where that is not what its daemon believes. So a step whose answer was lost may be repeated, and one that comes late
undoes nothing.

All keys are in ``KEYS``, so that a Redis Cluster can place them. ``ARGV`` begins with the nonce, the owner and its
epoch. The answer is the nonce, a word, and what more it tells:

* ``OK``: it is done, now or by an earlier attempt at the same step;
* ``EMPTY``: Redis has no such record; ``OLD``: it has another revision of it, which follows. Nothing was changed;
* ``TAKEN``: the record has another owner, who follows. Nothing was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1

#: Whose records these are. Constant while a daemon has its records for itself; every step sends it
#: (``RedisConnection.step``). One value per process would be the beginning of leases: see the door of ``ownership``.
#: (``watcher`` means the kernel's file leases.) Then change in this package what does not compare the owner: MARK,
#: REVISE, reader, quarantine, and ``keep_records``, which writes lost records again, whoever has them now. TAKEN
#: becomes an error that ``save`` retries indefinitely (``errors.taken``).
OWNER = b"single"
EPOCH = b"0"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis knows it by ``sha`` once it has run."""

    text: str

    @property
    def sha(self) -> str:
        """As Redis computes it."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_HEAD = """\
local nonce, owner, epoch, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
"""

#: Refuses the record of another owner, and leaves in ``found`` which revision Redis has of it (empty: none).
_OF_RECORD = (
    _HEAD
    + """\
local held = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'revision')
-- An older release writes no owner.
if held[1] and (held[1] ~= owner or held[2] ~= epoch) then return {nonce, 'TAKEN', held[1]} end
local found = held[3] or ''
"""
)

#: KEYS: the record, its parts, the set of its status, the other sets. ARGV after the id: the revision that this step
#: makes, the one that it believes in (empty: none), how many parts that has (empty: all parts are written again), how
#: many words of fields, of parts and of numbers of parts that are gone follow, and these.
#: The fields come last: with the new revision in them, the step is done.
SAVE = Script(
    _OF_RECORD
    + """\
local meta, parts = KEYS[1], KEYS[2]
local revision, believed, held_parts = ARGV[5], ARGV[6], ARGV[7]
local first_part = 11 + tonumber(ARGV[8])
local first_gone = first_part + tonumber(ARGV[9])

-- unpack takes no more than some thousand values.
local function in_pieces(command, first, last)
  for from = first, last, 1000 do
    redis.call(command, parts, unpack(ARGV, from, math.min(from + 999, last)))
  end
end

if found == revision then return {nonce, 'OK', 0} end
local count = redis.call('HLEN', parts)
if found ~= believed or (held_parts ~= '' and count ~= tonumber(held_parts)) then
  return {nonce, found == '' and 'EMPTY' or 'OLD', found}
end

-- First what a full Redis refuses: once a script has written anything, Redis lets it go on.
local joined = redis.call('SADD', KEYS[3], id)
for place = 4, #KEYS do redis.call('SREM', KEYS[place], id) end
if held_parts == '' then redis.call('DEL', parts) end
in_pieces('HSET', first_part, first_gone - 1)
in_pieces('HDEL', first_gone, first_gone + tonumber(ARGV[10]) - 1)
redis.call('DEL', meta)
redis.call('HSET', meta, unpack(ARGV, 11, first_part - 1))
return {nonce, 'OK', joined}
"""
)

#: KEYS: the record, its parts, ``streams:completed``, the markers, the numbers, the other sets. ARGV after the id: the
#: revision that this step believes in (empty: none), the marker's field, the marker, a name (empty: none), its number,
#: and how many names are remembered at most.
FINISH = Script(
    _OF_RECORD
    + """\
if found ~= ARGV[5] then
  if found ~= '' then return {nonce, 'OLD', found} end
  local is_done = redis.call('HGET', KEYS[4], ARGV[6]) == ARGV[7]
  return {nonce, is_done and 'OK' or 'EMPTY', ''}
end
redis.call('HSET', KEYS[4], ARGV[6], ARGV[7])
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[5], ARGV[8], ARGV[9])
  if redis.call('HLEN', KEYS[5]) > tonumber(ARGV[10]) then redis.call('DEL', KEYS[5]) end
end
for place = 6, #KEYS do redis.call('SREM', KEYS[place], id) end
redis.call('SADD', KEYS[3], id)
redis.call('DEL', KEYS[1], KEYS[2])
return {nonce, 'OK', ''}
"""
)

#: KEYS: the record, its parts, all sets. ARGV after the id: the revision that this step believes in.
FORGET = Script(
    _OF_RECORD
    + """\
if found ~= '' and found ~= ARGV[5] then return {nonce, 'OLD', found} end
for place = 3, #KEYS do redis.call('SREM', KEYS[place], id) end
redis.call('DEL', KEYS[1], KEYS[2])
return {nonce, 'OK', ''}
"""
)

#: KEYS: ``streams:completed``, the markers. ARGV after the id: the marker's field, the marker.
MARK = Script(
    _HEAD
    + """\
redis.call('HSET', KEYS[2], ARGV[5], ARGV[6])
redis.call('SADD', KEYS[1], id)
return {nonce, 'OK'}
"""
)

#: KEYS: the markers, ``streams:completed``. ARGV after the nonce, the owner and the epoch, in fours: a marker's field,
#: its value as it was read, the value in its place (empty: none), its stream. The answer ends with how many matched.
REVISE = Script(
    """\
local revised = 0
for at = 4, #ARGV, 4 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then
    if ARGV[at + 2] == '' then
      redis.call('HDEL', KEYS[1], ARGV[at])
      redis.call('SREM', KEYS[2], ARGV[at + 3])
    else
      redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
    end
    revised = revised + 1
  end
end
return {ARGV[1], 'OK', revised}
"""
)

#: Reads. KEYS: the markers, the numbers. ARGV after the nonce, the owner and the epoch, in twos: a marker's field and a
#: name. The answer ends with what each of them has.
RECALL = Script(
    """\
local told = {ARGV[1], 'OK'}
for at = 4, #ARGV, 2 do
  told[#told + 1] = redis.call('HGET', KEYS[1], ARGV[at])
  told[#told + 1] = redis.call('HGET', KEYS[2], ARGV[at + 1])
end
return told
"""
)

#: Shows that scripts may be run, before anything depends on it.
NOTHING = Script("return {ARGV[1], 'OK'}\n")
