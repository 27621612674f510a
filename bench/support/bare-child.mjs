/** Nothing but Node with a channel: what any process of ours costs at least. Plain JavaScript, so that nothing is stripped. */
process.on('disconnect', () => process.exit(0));
process.send?.(process.memoryUsage.rss());
