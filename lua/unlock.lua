-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- unlock: deletes the key if it is ours, and nothing else.
--
-- KEYS[1]  the lock
-- KEYS[2]  the counter of fences, "rlockd:fence", whatever lease.prefix is
-- ARGV[1]  our value
--
-- Returns  {1, 0}   it was ours, and is deleted
--          {0, 0}   it is another's
--          {-1, 0}  there is no such key
--
-- It must be one script because the key may expire and become another's between the comparison and
-- the deletion.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
    redis.call('DEL', KEYS[1])
    return {1, 0}
end
-- A write that changes nothing: a replica refuses it, so that this answer is a master's.
redis.call('PERSIST', KEYS[2])
return {holder and 0 or -1, 0}
