-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: The rlockd authors
--
-- unlock: gives the key up if it is ours, to the host that has waited longest, or deletes it if nobody
-- waits. In any case this value waits no longer.
--
-- KEYS[1]  the lock
-- KEYS[2]  the counter of fences, "rlockd:fence"; not used
-- KEYS[3]  the queue, see queue.lua
-- ARGV[1]  our value
-- ARGV[2]  for how many ms it is offered to who has waited longest; 0: leave it free, also for programs
--          that know of no queue
--
-- Returns  {1, 0, 0}   it was ours, and is free
--          {1, 0, 1}   it was ours, and is offered to another host
--          {0, 0, 0}   it is another's
--          {-1, 0, 0}  there is no such key
--          {-1, 0, 1}  there was none, and it is offered to another host
--
-- It must be one script because the key may expire and become another's between the comparison and
-- what follows from it.
local holder = redis.call('GET', KEYS[1])
local is_ours = holder == ARGV[1]
if not is_ours then
    -- A write also if we do not queue: a replica refuses it, so that this answer is a master's.
    redis.call('ZREM', KEYS[3], ARGV[1])
    if holder then
        return {0, 0, 0}
    end
end
local is_passed_on = ARGV[2] ~= '0' and pass_on(nil, ARGV[2])
if is_ours and not is_passed_on then
    redis.call('DEL', KEYS[1])
end
return {is_ours and 1 or -1, 0, is_passed_on and 1 or 0}
