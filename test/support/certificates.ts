/**
 * Certificates for tests of TLS: an authority of their own and what it signs, made anew for each test. X.509 by hand, for Node
 * can read certificates and not make them, and not every machine has a program that does.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export interface Identity {
  name: string;
  certificate: string;
  key: string;
  /** For signing others. */
  privateKey: KeyObject;
}

export interface CertificateOptions {
  /** `127.0.0.1` and `localhost` by default. */
  names?: readonly string[];
  /** Days from today. */
  validFor?: number;
  /** By whom; by itself when there is none. */
  by?: Identity;
}

const ECDSA_SHA256 = '1.2.840.10045.4.3.2';
const COMMON_NAME = '2.5.4.3';
const BASIC_CONSTRAINTS = '2.5.29.19';
const SUBJECT_ALT_NAME = '2.5.29.17';
const DAY_MS = 24 * 3600 * 1000;

export function makeIdentity(
  name: string,
  { names = ['127.0.0.1', 'localhost'], validFor = 30, by }: CertificateOptions = {},
): Identity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = sequence(oid(ECDSA_SHA256));
  const until = Date.now() + validFor * DAY_MS;
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))), // version 3
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    nameOf(by?.name ?? name),
    sequence(time(Math.min(Date.now(), until) - DAY_MS), time(until)),
    nameOf(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      0xa3,
      sequence(
        extension(BASIC_CONSTRAINTS, sequence(...(by ? [] : [tagged(0x01, Buffer.from([0xff]))]))),
        extension(SUBJECT_ALT_NAME, sequence(...names.map(altName))),
      ),
    ),
  );
  const signature = sign('sha256', body, by?.privateKey ?? privateKey);
  const whole = sequence(
    body,
    algorithm,
    tagged(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  return {
    name,
    certificate: `-----BEGIN CERTIFICATE-----\n${whole.toString('base64')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    privateKey,
  };
}

/** DER: tag, length, content. */
function tagged(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts: Uint8Array[]): Buffer => tagged(0x30, ...parts);
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes);
const nameOf = (name: string): Buffer =>
  sequence(tagged(0x31, sequence(oid(COMMON_NAME), tagged(0x0c, Buffer.from(name)))));
const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), tagged(0x04, value));

const altName = (name: string): Buffer =>
  /^[\d.]+$/.test(name)
    ? tagged(0x87, Buffer.from(name.split('.').map(Number)))
    : tagged(0x82, Buffer.from(name));

/** `20261121093000Z` */
const time = (at: number): Buffer =>
  tagged(0x18, Buffer.from(`${new Date(at).toISOString().replaceAll(/[-:T]|\..*/g, '')}Z`));

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest.flatMap(base128)];
  return tagged(0x06, Buffer.from(bytes));
}

function base128(number: number): number[] {
  const digits = [number & 127];
  for (let left = number >> 7; left > 0; left >>= 7) digits.unshift((left & 127) | 128);
  return digits;
}
