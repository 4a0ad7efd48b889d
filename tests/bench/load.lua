-- What wrk sends, and how it reports. Called by load.py, which gives behind "--": METHOD DEPTH [BODY FILE].
-- Fields come by wrk's own -H.

function init(arguments)
   wrk.method = arguments[1]
   local depth = tonumber(arguments[2])
   if arguments[3] then
      local file = assert(io.open(arguments[3], "rb"))
      wrk.body = file:read("*a")
      file:close()
   end
   if depth > 1 then
      local batch = string.rep(wrk.format(), depth)
      request = function() return batch end
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %.6f, "p99_ms": %.3f,'
         .. ' "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e3,
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
