/**
 * Node's HTTP, taken without an `import`: that reads every export, and one of them loads Node's whole web client
 * (20 ms and 13 MB, for each start of the command line too).
 */
export const { createServer, request, STATUS_CODES } = process.getBuiltinModule('node:http');
