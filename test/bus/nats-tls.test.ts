import type { PeerCertificate } from 'node:tls';
import { expect, test } from 'vitest';
import { identityCheck } from '../../bus/nats-tls.ts';

const certificate = (...names: string[]): PeerCertificate =>
  ({ subject: { CN: 'a server' }, subjectaltname: names.join(', ') }) as unknown as PeerCertificate;

/** `asked`: what Node looks for. Of a server that the client does not name, that is `localhost`. */
const CASES: [servers: string[], asked: string, names: string[], isTaken: boolean][] = [
  [['nas.lan:4222'], 'nas.lan', ['DNS:nas.lan'], true],
  [['nas.lan:4222'], 'nas.lan', ['DNS:other.lan'], false],
  [['one.lan:4222', 'two.lan:4222'], 'two.lan', ['DNS:one.lan'], false],
  [['10.0.0.5:4222'], 'localhost', ['IP Address:10.0.0.5'], true],
  [['10.0.0.5:4222'], 'localhost', ['DNS:localhost'], false],
  [['10.0.0.5:4222', '10.0.0.6:4222'], 'localhost', ['IP Address:10.0.0.6'], true],
  [['nas.lan:4222', '10.0.0.5:4222'], 'localhost', ['DNS:nas.lan'], false],
  [['localhost:4222'], 'localhost', ['DNS:localhost'], true],
  [['localhost:4222'], 'localhost', ['DNS:nas.lan'], false],
  [['[::1]:4222'], 'localhost', ['IP Address:0:0:0:0:0:0:0:1'], true],
];

test.each(CASES)(
  'given %j, a server that is %s shows %j: taken is %s',
  (servers, asked, names, ok) => {
    expect(identityCheck(servers)(asked, certificate(...names)) === undefined).toBe(ok);
  },
);
