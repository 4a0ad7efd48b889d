-- What wrk sends, and how it reports. Called by load.py, which gives behind "--":
-- METHOD DEPTH BODY CHUNKED ANSWER, the last two "-" where they are not wanted.
-- BODY and ANSWER are files; with ANSWER every answer is compared with it, which makes wrk slow.
-- Fields come by wrk's own -H.

local threads = {}
wrong = 0

function setup(thread)
   table.insert(threads, thread)
end

local function content(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

function init(arguments)
   wrk.method = arguments[1]
   local depth = tonumber(arguments[2])
   local body = content(arguments[3])
   local text
   if arguments[4] ~= "-" then
      -- The body is framed already, and wrk would announce its length.
      wrk.headers["Transfer-Encoding"] = "chunked"
      text = wrk.format() .. body
   else
      if #body > 0 then wrk.body = body end
      text = wrk.format()
   end
   local batch = string.rep(text, depth)
   request = function() return batch end
   if arguments[5] ~= "-" then
      local expected = content(arguments[5])
      response = function(status, fields, answer)
         if status ~= 200 or answer ~= expected then wrong = wrong + 1 end
      end
   end
end

function done(summary, latency)
   local errors = summary.errors
   local all = 0
   for _, thread in ipairs(threads) do all = all + thread:get("wrong") end
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "wrong": %d,'
         .. ' "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, all,
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
