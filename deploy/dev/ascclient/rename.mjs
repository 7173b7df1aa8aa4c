// Lists the apps and renames one by an App Store Connect client that is not ours,
// with a private key of its own that Apple never saw: rename.mjs MODULES URL KEY.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [modules, urlBase, key] = process.argv.slice(2);
const { api } = await import(pathToFileURL(`${modules}/node-app-store-connect-api/index.mjs`));
const client = await api({
  issuerId: 'nobody', apiKey: 'NOTAREALKEY', privateKey: readFileSync(key, 'utf8'), urlBase, automaticRetries: 0,
});

const { data } = await client.read('apps');
for (const app of data) console.log(app.id, app.attributes.name);
const renamed = await client.update({ type: 'apps', id: data[0].id }, { attributes: { name: 'Renamed' } });
console.log(JSON.stringify(renamed));
