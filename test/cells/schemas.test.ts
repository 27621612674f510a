/** The runtime does not check its own schemas at start (validate.ts); this does. */
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { readdirSync } from 'node:fs';
import { schemaOf } from '../../cells/validate.ts';
import type { SchemaKind } from '../../cells/validate.ts';

const files = readdirSync(new URL('../../cells/schemas/', import.meta.url));

test.each(files)('%s is a sound JSON Schema', (file) => {
  const ajv = new Ajv({ strict: false });
  const isSound = ajv.validateSchema(schemaOf(file.replace('.json', '') as SchemaKind));
  expect(ajv.errorsText(ajv.errors)).toBe('No errors');
  expect(isSound).toBe(true);
});
